#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# System calls on far memory.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

far_program 60 16M "mem shm" mem_syscalls 64 1
