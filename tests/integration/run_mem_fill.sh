#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The malloc family with four times more data than local memory.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

far_program 60 16M "mem file tcp shm" mem_fill 64 "${SEED:-1}"
far_program 60 16M "mem" mem_fill 64 $((${SEED:-1} + 1))
