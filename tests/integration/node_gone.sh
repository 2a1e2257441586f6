#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Killed and stopped nodes, workers and clients: errors within the limit, never a hang, nothing left.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"

start_client() {
	: > "$WORK/traffic"
	"$CLIENT" "$(uri "$1")" traffic > "$WORK/traffic" 2>&1 &
	client=$!
	STARTED="$STARTED $client"
	wait_for 10 grep -q ready "$WORK/traffic" || fail "$1: $(cat "$WORK/traffic")"
}

# The client must see the loss within a second of its last good io.
expect_loss() {
	wait_for 8 has_ended "$client" || fail "$1: the client hangs"
	ms=$(sed -n 's/^failed: Connection reset by peer after \([0-9]*\) ms$/\1/p' "$WORK/traffic")
	[ -n "$ms" ] || fail "$1: $(cat "$WORK/traffic")"
	[ "$ms" -lt 1000 ] || fail "$1: seen after $ms ms"
}

rss_kib() {
	total=0
	for pid in $NODE $(workers); do
		kib=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2> /dev/null) || kib=0
		total=$((total + ${kib:-0}))
	done
	echo $total
}

for transport in tcp cma shm; do
	for round in 1 2; do
		start_node --memory 128M
		start_client $transport
		sleep 0.$round
		children=$(workers)
		kill -KILL "$NODE"
		expect_loss "$transport, node killed"
		for pid in $children; do
			wait_for 5 has_ended "$pid" || fail "$transport: worker $pid outlives its node"
		done
	done

	# A worker alone: the node lives on, and serves the next.
	start_node --memory 128M
	start_client $transport
	kill -KILL $(workers)
	expect_loss "$transport, worker killed"
	start_client $transport
	wait_for 5 grep -q 'ended by signal 9' "$LOG" || fail "$transport: not logged"

	# A client killed in the middle of its traffic: its memory is free, again and again. Through
	# shm such a client may leave its worker spinning for a lock, until the worker's alarm.
	rounds='1 2 3 4 5'
	[ $transport = shm ] && rounds=1
	for round in $rounds; do
		kill -KILL "$client"
		wait_for 15 has_no_workers || fail "$transport: worker of a killed client: $(workers)"
		start_client $transport
	done
	[ "$(rss_kib)" -gt 8192 ] || fail "$transport: the node does not hold what it lends"
	kill -KILL "$client"
	wait_for 15 has_no_workers || fail "$transport: worker of a killed client: $(workers)"
	[ "$(rss_kib)" -lt 30000 ] || fail "$transport: $(rss_kib) KiB are not freed"
	stop_node
done
"$PERDURE" node --listen 127.0.0.1:0 --memory 16M 2> /dev/null &
cleaner=$!
STARTED="$STARTED $cleaner"
no_litter() {
	[ -z "$(litter)" ]
}
wait_for 10 no_litter || fail "left behind: $(litter)"
kill -TERM $cleaner

# A node that hangs: each wait of the client has its limit, and closing does not need the node.
start_node --memory 128M
start_client tcp
stopped="$NODE $(workers)"
kill -STOP $stopped
wait_for 15 has_ended "$client" || fail "tcp, node stopped: the client hangs"
grep -q 'failed: Connection timed out' "$WORK/traffic" || fail "stopped: $(cat "$WORK/traffic")"
if "$CLIENT" "$(uri auto)&timeout=300ms" open 2> "$WORK/err"; then
	fail "a stopped node lets clients in"
fi
grep -q 'does not answer within 300 ms' "$WORK/err" || fail "stopped: $(cat "$WORK/err")"
kill -CONT $stopped
"$CLIENT" "$(uri auto)" basic || fail "the node does not come back"
grep -q libfabric "$WORK"/node.*.log && fail "libfabric writes into the log"
stop_node
