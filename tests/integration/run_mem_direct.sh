#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# O_DIRECT and io_uring, their buffers pushed out meanwhile.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

far_program 60 16M "mem copy file shm" mem_direct 64 1
