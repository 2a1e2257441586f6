#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Holes, fences, sparse mappings, far code, write barriers, locks.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

far_program 120 16M "mem tcp" mem_map_rules 64 "${SEED:-1}"
