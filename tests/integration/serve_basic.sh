#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A region's life: made, written, saved, lost, restored, taken over, destroyed (M5 1, 3 to 6).
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/serve_common.sh"

mib=32
start_agent --no-ups
create orders ${mib}M
create other 1M
await 5 orders state live
field_is orders unflushed_bytes 0 || fail "an empty region has something unflushed"

# Tracked exactly: what was written counts, what was read does not, and it is flushed by itself.
words fill orders 1 > "$WORK/out"
grep -q 'not armed' "$WORK/out" || fail "armed without a UPS"
await 20 orders unflushed_bytes 0
words check orders 1
field_is orders unflushed_bytes 0 || fail "reading counts as writing"
field_is orders tracked exactly || fail "a tracked writer counts as a foreign one"

"$PERDURE" status | grep -q '^orders  *32.0MB live' || fail "perdure status does not show the region"
"$PERDURE" status --json | grep -q '"perdure serve"' || fail "perdure status --json does not show the agent"

# M5 6: the save is only of what is not flushed yet. Its control is the first save of everything.
save --json
pages=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["pages"])' "$WORK/saved")
[ "$pages" -lt $((mib * 256 / 8)) ] || fail "a save of $pages pages, though all was flushed"
words fill orders 2 > /dev/null
save --json
grep -q '"result": 0' "$WORK/saved" || fail "the save failed: $(cat "$WORK/saved")"

# M5 4, 5: the memory is lost. It comes back with the bytes of the save, not those written after.
words fill orders 3 > /dev/null
lose_power
[ ! -e "$REGIONS/orders" ] || fail "the memory is not lost"
start_agent --no-ups
words check orders 2
await 20 orders state live
words check orders 2
[ -e "$REGIONS/orders" ] || fail "the restored region has no name"
field_is other state live || fail "the other region is not there"

# Told to end, the agent saves.
words fork orders 4
stop_agent
lost=$(cat "$LOG")
lose_power
start_agent --no-ups
words check orders 4 || fail "what was written before SIGTERM is lost: $lost"

# An agent that dies leaves the memory; the next takes it over and knows nothing of what is flushed (T5).
await 20 orders state live
words fill orders 5 > /dev/null
kill_agent
start_agent --no-ups
words check orders 5
grep -q 'taken over' "$LOG" || fail "the memory is not taken over: $(cat "$LOG")"
save
lose_power
start_agent --no-ups --eager
field_is orders state live || fail "eager, and not restored at once"
words check orders 5 || fail "what was taken over is lost"

# Writers that nobody tracks are found, and what they wrote.
await 20 orders state live
"$WORDS" fill other 6 > /dev/null
dd if=/dev/urandom of="$WORK/noise" bs=4096 count=256 2> /dev/null
dd if="$WORK/noise" of="$REGIONS/other" conv=notrunc 2> /dev/null
save
await 20 other tracked exactly
await 20 other unflushed_bytes 0
dd if="$WORK/noise" of="$REGIONS/other" bs=4096 seek=3 count=5 conv=notrunc 2> /dev/null
cp "$REGIONS/other" "$WORK/kept"
sleep 0.2
save
lose_power
start_agent --no-ups
await 20 other state live
cmp "$REGIONS/other" "$WORK/kept" || fail "what an untracked writer wrote is lost"

# Destroyed: nothing is left, and the name is free.
region destroy other
[ ! -e "$REGIONS/other" ] && [ ! -e "$IMAGES/other.image" ] || fail "files of a destroyed region are left"
create other 2M
region destroy other
region destroy orders
region list | grep -q 'no regions' || fail "a region is left"
stop_agent
[ "$(ls -A "$REGIONS" | grep -v sock)" = "" ] || fail "left: $(ls -A "$REGIONS")"
