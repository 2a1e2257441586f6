#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The malloc family with four times more data than local memory.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

far_program 90 8M "mem file tcp shm" mem_fill 24 "${SEED:-1}"
far_program 90 8M "copy" mem_fill 24 $((${SEED:-1} + 1))
