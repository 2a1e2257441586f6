#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# GNU sort with two threads.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

awk 'BEGIN { for (n = 0; n < 400000; n++) {
	state = (state * 16807 + 12345) % 2147483647; print state, "line", n * 7919 % 400000, n } }' \
	> "$WORK/lines"
LC_ALL=C
export LC_ALL
same_output 90 8M "mem file shm" sort -S 100M --parallel=2 "$WORK/lines"
