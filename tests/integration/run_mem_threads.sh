#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Threads, signals and alternate stacks.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

far_program 60 16M "mem" mem_threads 48 "${SEED:-1}"
far_program 90 8M "copy file tcp shm" mem_threads 12 "${SEED:-1}"
