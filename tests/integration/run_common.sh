# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests of programs with far memory, behind common.sh and node_common.sh.

PROGRAMS=$TEST_PROGRAMS/programs
REPORT=$WORK/report.json

# far BACKING: sets FAR to the options for one of mem, copy (mem: too, but pages leave by copy),
# file, tcp, shm, cma; starts a node when needed.
far() {
	case $1 in
	mem) FAR="--far mem:" ;;
	copy) FAR="--kernel copy --far mem:" ;;
	file) FAR="--far file:$WORK/far.pages" ;;
	tcp | shm | cma)
		[ -n "${NODE:-}" ] || start_node --memory 2G
		FAR="--far $(uri "$1")"
		;;
	*) fail "far: \"$1\"" ;;
	esac
}

# run_far SECONDS LOCAL COMMAND...: runs it within LOCAL, its pages in FAR, and passes its status on.
run_far() {
	limit=$1
	local=$2
	shift 2
	timeout -k 5 "$limit" "$PERDURE" run --local "$local" $FAR --report "$REPORT" -- "$@"
}

# report_field FIELD: a number of the last report.
report_field() {
	python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$REPORT" "$1"
}

# check_report: pages did go far, the limit was kept by each process, nothing was lost.
check_report() {
	python3 - "$REPORT" <<- 'END' || fail "$1: the report is not as it must be"
		import json, sys
		report = json.load(open(sys.argv[1]))
		wrong = []
		limit = report["local_bytes_limit"]
		for process in report["processes"] + [report]:
		    if process["local_bytes_max"] > limit:
		        wrong.append(f"{process['local_bytes_max']} bytes local, limit {limit}")
		if report["pages_evicted"] == 0 or report["pages_fetched"] == 0:
		    wrong.append("no page went far and came back: the test tests nothing")
		if report["pages_lost"] or report["fetch_timeouts"]:
		    wrong.append(f"{report['pages_lost']} pages lost, "
		                 f"{report['fetch_timeouts']} timeouts")
		print("\n".join(wrong), end="\n" if wrong else "")
		sys.exit(1 if wrong else 0)
	END
}

# The backings of these that this run takes: shm, which the node's own tests have in every run, is
# left to `make soak` (SOAK=1), as everything more takes its time.
backings_of_run() {
	for backing in $1; do
		[ "$backing" = shm ] && [ -z "${SOAK:-}" ] || echo "$backing"
	done
}

# far_program SECONDS LOCAL "BACKINGS" PROGRAM ARGUMENTS...: natively first, then with each backing.
far_program() {
	limit=$1 local=$2 backings=$(backings_of_run "$3") program=$4
	shift 4
	native=0
	timeout -k 5 "$limit" "$PROGRAMS/$program" "$@" > "$WORK/native" 2>&1 || native=$?
	[ $native != 77 ] || skip "$(cat "$WORK/native")"
	[ $native = 0 ] || fail "$program $* natively: status $native: $(tail -n 3 "$WORK/native")"
	for backing in $backings; do
		far "$backing"
		status=0
		run_far "$limit" "$local" "$PROGRAMS/$program" "$@" > "$WORK/far" 2>&1 || status=$?
		[ $status = 0 ] ||
			fail "$program $* with $FAR: status $status: $(tail -n 3 "$WORK/far")"
		cmp "$WORK/native" "$WORK/far" ||
			fail "$program $* with $FAR prints otherwise: $(diff "$WORK/native" "$WORK/far")"
		[ "${REPORT_CHECKED:-yes}" = no ] || check_report "$program $* with $FAR"
	done
}

# same_output SECONDS LOCAL "BACKINGS" COMMAND...: its standard output is that of the native run.
same_output() {
	limit=$1 local=$2 backings=$(backings_of_run "$3")
	shift 3
	timeout -k 5 "$limit" "$@" > "$WORK/native" || fail "$1 natively: status $?"
	[ -s "$WORK/native" ] || fail "$1 natively prints nothing"
	for backing in $backings; do
		far "$backing"
		status=0
		run_far "$limit" "$local" "$@" > "$WORK/far" || status=$?
		[ $status = 0 ] || fail "$1 with $FAR: status $status"
		cmp "$WORK/native" "$WORK/far" || fail "$1 with $FAR prints otherwise"
		check_report "$1 with $FAR"
	done
}

# status_number LAUNCHER EXPRESSION: of a run in progress, named `run` in the Python expression.
status_number() {
	"$PERDURE" status --json | python3 -c '
import json, sys
for run in json.load(sys.stdin):
    if run["pid"] == int(sys.argv[1]):
        print(eval(sys.argv[2]))' "$1" "$2"
}

# Each process watched from outside: watch_limit LAUNCHER PID prints bytes and looks until it ends.
watch_limit() {
	ranges=$(status_number "$1" "'%x-%x %x-%x' % next((p['region_start'], p['region_end'],
		p['pool_start'], p['pool_end']) for p in run['processes'] if p['pid'] == $2)") || return 1
	[ -n "$ranges" ] || return 1
	"$PROGRAMS/mem_limit" "$2" 10 $ranges
}
