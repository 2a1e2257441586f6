#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# exec chains, closed descriptors, daemons, libraries that come and go.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

far_program 60 4M "mem file tcp" mem_exec 12 1
# By shm and cma one process reads another's memory, which ends when the program changes its user.
far_program 60 4M "shm cma" mem_exec 12 1 same-user
