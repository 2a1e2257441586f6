#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# fork in all its forms.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

far_program 120 4M "mem" mem_fork 16 1
for part in tree exits writers repeat orphan; do
	far_program 60 4M "file tcp shm" mem_fork 10 2 $part
done
