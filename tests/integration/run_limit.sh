#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The bound on local memory, watched from outside: the kernel own count of resident pages.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

far mem
LIMIT=$((16 << 20))

LOOKS_MIN=20
RUNS_MAX=60 # on a busy host most are over before they can be looked at

# watched COMMAND...: runs it as often as it takes to look at its first process that many times.
watched() {
	all_looks=0 runs=0 most_of_all=0
	while [ $all_looks -lt $LOOKS_MIN ]; do
		[ $((runs += 1)) -le $RUNS_MAX ] || fail "$1: only $all_looks looks in $RUNS_MAX runs"
		watched_once "$@"
	done
	# A single run may be looked at only before it has touched anything.
	[ "$most_of_all" -gt 0 ] || fail "$1: nothing was resident: the wrong ranges"
}

watched_once() {
	"$PERDURE" run --local $LIMIT $FAR --report "$REPORT" -- "$@" > "$WORK/out" 2>&1 &
	launcher=$!
	STARTED="$STARTED $launcher"
	wait_for 10 first_member || fail "no process of the run shows in perdure status"
	# It may have ended before it could be looked at.
	watch_limit $launcher "$member" > "$WORK/watched" || echo "0 bytes in 0 looks" > "$WORK/watched"
	wait $launcher || fail "$*: $(tail -n 3 "$WORK/out")"
	most=$(cut -d' ' -f1 "$WORK/watched")
	looks=$(sed 's/.* in \([0-9]*\) looks/\1/' "$WORK/watched")
	all_looks=$((all_looks + looks))
	[ "$most" -le "$most_of_all" ] || most_of_all=$most
	[ "$most" -le $LIMIT ] || fail "$1: $most bytes resident, the limit is $LIMIT"
	check_report "$1"
}

first_member() {
	member=
	# Over before it could be looked at; its status tells whether it went well.
	is_gone $launcher && return 0
	member=$(status_number $launcher "run['processes'][0]['pid']" 2> /dev/null) && [ -n "$member" ]
}

watched "$PROGRAMS/mem_threads" 48 1
watched "$PROGRAMS/mem_fill" 48 1
watched "$PROGRAMS/mem_fork" 32 1 crowd
watched "$PROGRAMS/mem_direct" 64 1 large
