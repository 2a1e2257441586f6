#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A node lends memory: what is stored comes back, over every transport, and it refuses in words.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"

start_node --memory 256M --quota 128M --pid-file "$WORK/pid"
[ "$(cat "$WORK/pid")" = "$NODE" ] || fail "the pid file has another number"
for transport in tcp cma shm auto; do
	"$CLIENT" "$(uri $transport)" basic || fail "$transport"
done

# A client that may not look into the worker (another user) gets tcp, unless it insists.
clients=4
if [ "$(id -u)" = 0 ] && [ "${SANITIZED:-0}" = 0 ]; then
	chmod 755 "$WORK"
	mkdir "$WORK/copy"
	cp "$CLIENT" "$BUILD_ROOT/src/fabric/perdure-fabric-ofi.so" "$WORK/copy"
	as_nobody() {
		setpriv --reuid nobody --regid nogroup --clear-groups --bounding-set -all \
			--inh-caps -all "$@"
	}
	as_nobody "$WORK/copy/node_backing" "$(uri auto)" basic || fail "another user's client"
	if as_nobody "$WORK/copy/node_backing" "$(uri cma)" open 2> "$WORK/err"; then
		fail "another user's client may use cma"
	fi
	grep -q 'process_vm_readv: Operation not permitted' "$WORK/err" || fail "$(cat "$WORK/err")"
	clients=6
fi

# Nothing of a client outlives it, and what one held is free for the next.
wait_for 10 has_no_workers || fail "workers without clients: $(workers)"
[ "$(grep -c 'gone: session' "$LOG")" = $clients ] || fail "not every end is logged: $(cat "$LOG")"
for i in 1 2 3; do
	words=$("$CLIENT" "$(uri auto)" fill)
	case $words in
	"32768 slots, then: node 127.0.0.1:$PORT has no room: 144M wanted, the quota of one client is 128M") ;;
	*) fail "quota: $words" ;;
	esac
done

# Two clients hold all of it; the third is told so, with the numbers.
for i in 1 2; do
	: > "$WORK/hold.$i"
	HOLD_MIB=128 "$CLIENT" "$(uri auto)" hold > "$WORK/hold.$i" &
	STARTED="$STARTED $!"
	wait_for 10 grep -q ready "$WORK/hold.$i" || fail "a client cannot hold 128M"
done
words=$("$CLIENT" "$(uri auto)" fill)
case $words in
"0 slots, then: node 127.0.0.1:$PORT has no room: 0 of 256M free, 16M wanted") ;;
*) fail "full: $words" ;;
esac
grep -q 'refused: has no room' "$LOG" || fail "the refusal is not logged"

grep -q libfabric "$LOG" && fail "libfabric writes into the log: $(cat "$LOG")"
stop_node
[ ! -e "$WORK/pid" ] || fail "the pid file is left"
[ -z "$(litter)" ] || fail "left behind: $(litter)"
