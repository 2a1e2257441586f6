# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests of the memory node, behind common.sh.

CLIENT=$TEST_PROGRAMS/integration/node_backing

# start_node OPTIONS...: sets NODE (its process), PORT and LOG. Ended with the test.
start_node() {
	nodes=$((${nodes:-0} + 1))
	LOG=$WORK/node.$nodes.log
	: > "$LOG"
	"$PERDURE" node --listen 127.0.0.1:0 "$@" 2> "$LOG" &
	NODE=$!
	STARTED="$STARTED $NODE"
	wait_for 10 grep -q 'listening on' "$LOG" || fail "the node does not start: $(cat "$LOG")"
	PORT=$(sed -n 's/.*listening on 127.0.0.1:\([0-9]*\),.*/\1/p' "$LOG")
}

# stop_node: SIGTERM, and it must end well and soon.
stop_node() {
	kill -TERM "$NODE"
	wait_for 10 has_ended "$NODE" || fail "the node does not stop"
	set +e
	wait "$NODE"
	status=$?
	set -e
	[ $status = 0 ] || fail "the node's exit status is $status: $(cat "$LOG")"
	grep -q 'perdure node: stopped' "$LOG" || fail "the node does not say that it stopped"
}

# A zombie has ended too: whoever reaps the children of a killed node may take its time.
has_ended() {
	! grep -q '^State:[[:space:]]*[^Z[:space:]]' "/proc/$1/status" 2> /dev/null
}

uri() {
	echo "node://127.0.0.1:$PORT?transport=$1"
}

workers() {
	cat "/proc/$NODE/task/$NODE/children"
}

has_no_workers() {
	[ -z "$(workers)" ]
}

# Shared-memory files of processes that are gone. Those of other tests' processes are left out.
litter() {
	for file in /dev/shm/perdure-*; do
		[ -e "$file" ] || continue
		pid=${file#/dev/shm/perdure-}
		pid=${pid%%-*}
		[ -d "/proc/$pid" ] || echo "$file"
	done
}
