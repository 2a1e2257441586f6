#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# exec chains, closed descriptors, daemons, libraries that come and go.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

far_program 60 8M "mem file tcp shm" mem_exec 32 1
