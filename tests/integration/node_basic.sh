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

# Nothing of a client outlives it, and what one held is free for the next.
wait_for 10 has_no_workers || fail "workers without clients: $(workers)"
[ "$(grep -c 'gone: session' "$LOG")" = 4 ] || fail "not every end is logged: $(cat "$LOG")"
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

stop_node
[ ! -e "$WORK/pid" ] || fail "the pid file is left"
[ -z "$(litter)" ] || fail "left behind: $(litter)"
