#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A user of the host who may do all that his region lets him: the agent, and the others' regions, go on.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/serve_common.sh"

id nobody > /dev/null 2>&1 || skip "there is no user nobody"
[ "$(id -u)" = 0 ] || skip "root is needed for regions"

chmod 755 "$REGIONS"
start_agent --no-ups
create roots 8M
create theirs 8M --owner nobody
words fill roots 1 > /dev/null
await 20 roots unflushed_bytes 0
descriptors=$(ls "/proc/$AGENT/fd" | wc -l)

mkfifo "$WORK/hold"
python3 "$SOURCE_ROOT/tests/integration/serve_hostile.py" "$REGIONS/agent.sock" theirs nobody \
	< "$WORK/hold" > "$WORK/hostile" 2> "$WORK/hostile.err" &
HOSTILE=$!
STARTED="$STARTED $HOSTILE"
exec 9> "$WORK/hold"
is_ready() {
	grep -q ready "$WORK/hostile" || ! kill -0 $HOSTILE 2> /dev/null
}
wait_for 60 is_ready || fail "the hostile user waits: $(cat "$WORK/hostile.err" "$LOG")"
grep -q ready "$WORK/hostile" || fail "$(cat "$WORK/hostile.err")"

# Root is answered while he holds on to all that he could get, and the others' saves go on.
kill -0 "$AGENT" || fail "the agent is gone: $(cat "$LOG")"
words fill roots 2 > /dev/null
timeout 20 "$PERDURE" save --folder "$REGIONS" > "$WORK/saved" 2>&1 || fail "no save: $(cat "$WORK/saved" "$LOG")"
field_is roots tracked exactly || fail "another's region is not tracked any more"

# Nothing of him is left, and what is idle takes no time.
exec 9>&-
wait $HOSTILE || fail "the hostile user: $(cat "$WORK/hostile.err")"
is_free() {
	[ "$(ls "/proc/$AGENT/fd" | wc -l)" -le "$descriptors" ]
}
wait_for 10 is_free || fail "the agent keeps descriptors: $(ls -l "/proc/$AGENT/fd")"
ticks() {
	cut -d ' ' -f 14,15 "/proc/$AGENT/stat" | tr ' ' '+'
}
before=$(($(ticks)))
sleep 1
[ $(($(ticks) - before)) -lt 50 ] || fail "the agent is busy with nothing"

lose_power
start_agent --no-ups
words check roots 2 || fail "another's region is not as it was saved"
await 20 roots state live
