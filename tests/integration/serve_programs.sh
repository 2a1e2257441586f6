#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What programs do with a region beside writing to it: nothing is missed, and nobody waits for ever.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/serve_common.sh"

mib=512
half=$((mib / 2))
start_agent --no-ups
create orders ${mib}M --owner nobody

# A program may open and close it as often as it likes: each was a writer's place for good.
words again orders 0 600
words fill orders 1 > /dev/null
save

# A save while a program writes upwards in what is not restored yet: pages are opened ahead of it.
lose_power
start_agent --no-ups
words upwards orders 1 2000 > "$WORK/upwards" &
WRITER=$!
STARTED="$STARTED $WRITER"
has_begun() {
	grep -q ready "$WORK/upwards"
}
wait_for 20 has_begun || fail "no page comes back"
timeout 30 "$PERDURE" save --folder "$REGIONS" > /dev/null || fail "the agent waits for itself: $(cat "$LOG")"
wait $WRITER || fail "the writer: $?"
await 20 orders state live
[ "$(stat -c %U "$REGIONS/orders")" = nobody ] || fail "the restored region is not its owner's"
words check orders 1

# Who opened it while it was restored goes on without the agent, once nothing is missing.
save
lose_power
start_agent --no-ups
words upwards orders 1 5000 > "$WORK/upwards" &
WRITER=$!
STARTED="$STARTED $WRITER"
wait_for 20 has_begun || fail "no page comes back"
await 20 orders state live
kill -0 $WRITER || fail "the writer has ended too early to show anything"
kill_agent
ended() {
	! kill -0 $WRITER 2> /dev/null
}
wait_for 20 ended || fail "a program waits for a dead agent"
wait $WRITER || fail "the writer: $?"

# What is taken out is zeros, here and in the save.
start_agent --no-ups
await 20 orders tracked exactly
words remove orders 0
words remove orders 0
save
head -c ${half}M "$REGIONS/orders" | cksum > "$WORK/kept"
lose_power
start_agent --no-ups
await 20 orders state live
head -c ${half}M "$REGIONS/orders" | cksum | cmp - "$WORK/kept" || fail "the first half is not as it was"
tail -c ${half}M "$REGIONS/orders" | tr -d '\0' | head -c 1 | cmp - /dev/null || fail "what was taken out is back"
