#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A killed launcher, or a killed program, leaves nothing behind.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

# begin: a run of a shell with two programs, on a node by shared memory and a file.
begin() {
	mkdir -p "$WORK/one" "$WORK/two"
	rm -f "$WORK"/*/stop "$REPORT"
	"$PERDURE" run --local 4M --far "$(uri "$1")" --far "file:$WORK/far.pages" --report "$REPORT" -- \
		sh -c '"$1" 16 1 "$2/one" & "$1" 16 2 "$2/two" & wait' sh "$PROGRAMS/mem_loop" "$WORK" \
		> "$WORK/out" 2>&1 &
	launcher=$!
	STARTED="$STARTED $launcher"
	wait_for 20 both_far || fail "the programs do not come to use far memory: $(cat "$WORK/out")"
}

both_far() {
	! is_gone $launcher || fail "the run ended: $(cat "$WORK/out")"
	[ "$(status_number $launcher "sum(p['pages_fetched'] > 300 for p in run['processes'])")" = 2 ]
}

# All of them have the work folder in their arguments; this shell, the node and this grep have not.
left() {
	echo "$WORK" | grep -l -F -f - /proc/[0-9]*/cmdline 2> /dev/null || true
}

no_one_left() {
	[ -z "$(left)" ]
}

# What they wait for tells a program that hangs from a disk that is slow.
left_doing() {
	for cmdline in $(left); do
		for thread in "${cmdline%/cmdline}"/task/*; do
			echo "$thread: $(cat "$thread/comm" "$thread/wchan" "$thread/syscall" 2>&1 | tr '\n' ' ')"
		done
	done
}

# The programs read all of their memory before they end: half of it lies on the disk.
nothing_left() {
	wait_for 60 no_one_left || fail "$1: processes are left: $(left_doing)"
	wait_for 10 has_no_workers || fail "$1: the node still keeps the memory"
	[ ! -e "$WORK/far.pages" ] || fail "$1: the file is left"
	[ -z "$(litter)" ] || fail "$1: left in /dev/shm: $(litter)"
	! grep -q "perdure/run/$launcher" /proc/net/unix || fail "$1: the socket is left"
	[ -z "$(status_number $launcher 1)" ] || fail "$1: perdure status still shows it"
}

start_node --memory 256M
for transport in shm tcp cma; do
	begin $transport
	kill -KILL $launcher
	wait $launcher 2> /dev/null || true
	nothing_left "killed launcher, $transport"

	begin $transport
	for pid in $(status_number $launcher "' '.join(str(p['pid']) for p in run['processes'])"); do
		kill -KILL "$pid"
	done
	wait $launcher 2> /dev/null || true
	[ -e "$REPORT" ] || fail "killed programs, $transport: no report"
	nothing_left "killed programs, $transport"

	begin $transport
	# The signal is the shell's, as without Perdure: what it has started goes on, and ends well.
	kill -TERM $launcher
	wait $launcher 2> /dev/null || true
	[ -n "$(left)" ] || fail "SIGTERM, $transport: it ended what the shell had left running"
	touch "$WORK/one/stop" "$WORK/two/stop"
	nothing_left "SIGTERM, $transport"
done
stop_node
