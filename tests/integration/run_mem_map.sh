#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The mapping calls against a model, and their promises one by one.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

seed=${SEED:-1}
for seed in $seed $((seed + 1)) $((seed + 2)); do
	far_program 60 4M "mem" mem_map 16 $seed
done
far_program 60 4M "file tcp shm" mem_map 16 $((seed + 3))
