#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# No room, neither here nor far: SIGBUS in words, never a hang, and only for as long as it lasts.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

[ "$("$PROGRAMS/mem_full" 64 1)" = fits ] || fail "natively there is no room for 64 MiB"
for kernel in auto copy; do
	FAR="--kernel $kernel --timeout 200ms --far file:$WORK/far.pages?size=32M"
	status=0
	run_far 60 8M "$PROGRAMS/mem_full" 64 1 > "$WORK/out" 2> "$WORK/words" || status=$?
	[ $status = 0 ] || fail "$FAR: status $status: $(tail -n 3 "$WORK/words")"
	[ "$(cat "$WORK/out")" = full ] || fail "$FAR: $(cat "$WORK/out")"
	grep -q '^perdure: no room for page 0x' "$WORK/words" || fail "$FAR: not said in words"
	! grep -v '^perdure: no room for page 0x' "$WORK/words" || fail "$FAR: other words"
	[ "$(report_field pages_lost)" = 0 ] || fail "$FAR: pages were lost"
done
