#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Rubbish, floods and slow clients are dropped and logged, and an honest client does not notice.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"

start_node --memory 128M
"$CLIENT" "$(uri tcp)" traffic > "$WORK/traffic" 2>&1 &
client=$!
STARTED="$STARTED $client"
wait_for 10 grep -q ready "$WORK/traffic" || fail "the honest client: $(cat "$WORK/traffic")"

python3 "$(dirname "$0")/node_hostile.py" attack "$PORT" 4 || fail "see above"

"$CLIENT" "$(uri auto)" basic || fail "a new client, after the attack"
has_ended "$client" && fail "the honest client: $(cat "$WORK/traffic")"
grep -q failed "$WORK/traffic" && fail "the honest client: $(cat "$WORK/traffic")"
for words in 'it sent what is no hello' 'it does not have the key' 'no whole hello in time' \
	'another version' 'what is no message' 'it left without a hello' 'too many connections'; do
	grep -q "$words" "$LOG" || grep -q 'lines left out' "$LOG" || fail "not logged: $words"
done
one_worker() {
	[ "$(workers | wc -w)" = 1 ]
}
wait_for 10 one_worker || fail "workers of dropped clients: $(workers)"
kill -KILL "$client"
wait_for 10 has_no_workers || fail "the memory of a killed client is not freed"
grep -q libfabric "$WORK"/node.*.log && fail "libfabric writes into the log"
stop_node
[ -z "$(litter)" ] || fail "left behind: $(litter)"
