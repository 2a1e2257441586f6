#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Backings that fail now and then, answer late, or give wrong bytes.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

# A mirror takes what one copy fails to give; every page is still right.
REPORT_CHECKED=no
mirrored() {
	FAR="--mirror 2 --timeout 300ms --far $1 --far $2"
	status=0
	run_far 60 8M "$PROGRAMS/mem_threads" 16 1 > "$WORK/far" 2>&1 || status=$?
	[ $status = 0 ] || fail "$FAR: status $status: $(tail -n 3 "$WORK/far")"
	[ "$(cat "$WORK/far")" = ok ] || fail "$FAR: $(cat "$WORK/far")"
	[ "$(report_field pages_lost)" = 0 ] || fail "$FAR: pages were lost"
	errors=$(python3 -c 'import json, sys
print(sum(b["errors"] for b in json.load(open(sys.argv[1]))["backings"]))' "$REPORT")
	[ "$errors" -gt 0 ] || fail "$FAR: no error was struck"
}
mirrored error:p=0.01,kind=io:mem: mem:
mirrored error:p=0.01,kind=io,seed=3:mem: "file:$WORK/far.pages"
mirrored error:every=50,kind=corrupt,verb=fetch:mem: mem:
mirrored error:after=3000,kind=lost:mem: mem:
mirrored error:after=3000,kind=hang:mem: mem:
mirrored error:after=2000,kind=nospace,verb=store:mem: mem:

# Alone, it may end the program, but in words, and never with wrong bytes.
alone() {
	FAR="--timeout 300ms --far $1"
	status=0
	run_far 30 8M "$PROGRAMS/mem_threads" 16 1 > "$WORK/far" 2>&1 || status=$?
	case $status in
	0) [ "$(cat "$WORK/far")" = ok ] || fail "$FAR: $(cat "$WORK/far")" ;;
	135) # 128 and SIGBUS
		# A line for each thread that touched a lost page; the shell adds its own about the end.
		grep -q '^perdure: .*page 0x' "$WORK/far" || fail "$FAR: no page named: $(cat "$WORK/far")"
		! grep -v -e '^perdure: .*page 0x' -e '^Bus error' "$WORK/far" || fail "$FAR: other words"
		;;
	*) fail "$FAR: status $status: $(tail -n 3 "$WORK/far")" ;;
	esac
	ended=$status
}
alone error:every=2000,kind=corrupt,verb=fetch:mem:
[ "$ended" = 0 ] || fail "bytes that are wrong once are fetched again, and the program ended"
alone error:after=3000,kind=corrupt,verb=fetch:mem:
[ "$ended" = 135 ] || fail "wrong bytes without another copy, and the program went on"
alone error:after=3000,kind=lost:mem:
[ "$ended" = 135 ] || fail "a lost backing without another copy, and the program went on"
alone error:after=3000,kind=hang:mem:
[ "$ended" = 135 ] || fail "a backing that hangs, and the program went on"
alone error:after=1000,kind=nospace,verb=store:mem:
[ "$ended" = 135 ] || fail "a full backing without another, and the program went on"

# Slow is not broken.
REPORT_CHECKED=yes
FAR="--far delay:100us,jitter=300us:mem:"
run_far 60 8M "$PROGRAMS/mem_fill" 16 1 > "$WORK/far" 2>&1 || fail "$FAR: $(cat "$WORK/far")"
check_report "$FAR"
