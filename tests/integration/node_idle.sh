#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# At rest the node uses next to no processor time, with clients and without.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"

# Nanoseconds that the node and its workers have run.
used_ns() {
	total=0
	for pid in $NODE $(workers); do
		ns=$(cut -d' ' -f1 "/proc/$pid/schedstat")
		total=$((total + ns))
	done
	echo $total
}

# Descriptors that the keeper watches.
watched() {
	for fd in "/proc/$NODE/fd"/*; do
		[ "$(readlink "$fd")" != 'anon_inode:[eventpoll]' ] || grep -c tfd "/proc/$NODE/fdinfo/${fd##*/}"
	done
}

[ -r /proc/self/schedstat ] || skip "/proc/PID/schedstat is missing (CONFIG_SCHED_INFO)"
start_node --memory 256M
watched_alone=$(watched)
for transport in tcp cma shm; do
	: > "$WORK/hold.$transport"
	HOLD_MIB=16 "$CLIENT" "$(uri $transport)" hold > "$WORK/hold.$transport" &
	STARTED="$STARTED $!"
	wait_for 10 grep -q ready "$WORK/hold.$transport" || fail "$transport: no client"
done
# Of each session its worker's socket and its process: a client that speaks to its worker wakes
# nobody else.
[ "$(watched)" = $((watched_alone + 3 * 2)) ] ||
	fail "the keeper watches $(watched) descriptors, $watched_alone without the three sessions"
sleep 0.5
before=$(used_ns)
[ "$before" -gt 0 ] || fail "the processor time cannot be read"
sleep 3
after=$(used_ns)
# One percent of a core over three seconds is 30 ms.
echo "$(((after - before) / 1000)) us of processor time in 3 s, three clients at rest"
[ $((after - before)) -lt 30000000 ] || fail "that is more than one percent"
stop_node
