#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A disk that takes no writes: said, nothing armed, the generation before is kept, and when it takes
# them again nothing was lost (S3). The limit on the size of files stands for the disk.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/serve_common.sh"

start_agent --no-ups
create orders 8M
words fill orders 1 > /dev/null
save
stop_agent
rm -rf "$REGIONS"/* "$REGIONS"/.[!.]*

# The records and tables, not the pages.
disk_fails() {
	prlimit --pid "$AGENT" --fsize=65536:unlimited
}

disk_works() {
	prlimit --pid "$AGENT" --fsize=unlimited:unlimited
}

start_agent --no-ups
await 20 orders state live
disk_fails
words fill orders 2 > /dev/null
save && fail "a save succeeds on a disk that takes no writes"
grep -q 'File too large' "$WORK/save.err" || fail "no reason: $(cat "$WORK/save.err")"
field_is orders generation 3 || fail "another generation: $(field orders generation)"
words check orders 2 || fail "what was written is not in memory any more"
# It goes on as memory, and does not spin.
before=$(awk '{ print $14 + $15 }' "/proc/$AGENT/stat")
sleep 1
after=$(awk '{ print $14 + $15 }' "/proc/$AGENT/stat")
[ $((after - before)) -lt 30 ] || fail "the agent spins: $((after - before)) ticks in a second"
lose_power
start_agent --no-ups
words check orders 1 || fail "the generation before is not what is restored"

# The disk is there again before the power goes.
await 20 orders state live
disk_fails
words fill orders 3 > /dev/null
save && fail "a save succeeds on a disk that takes no writes"
disk_works
save || fail "no save on a disk that takes writes again: $(cat "$WORK/save.err" "$LOG")"
lose_power
start_agent --no-ups
words check orders 3 || fail "what was written while the disk failed is lost"
stop_agent
