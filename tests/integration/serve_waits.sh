#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A region that is being restored: who joins has it at once, who opens its file waits, and nobody ever
# reads a page that is not restored, also when the agent is killed (S5).
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/serve_common.sh"

mib=512
start_agent --no-ups
create orders ${mib}M
words fill orders 1 > /dev/null
save
tail -c 4096 "$REGIONS/orders" > "$WORK/last"
[ "$(tr -d '\0' < "$WORK/last" | wc -c)" -gt 0 ] || fail "the last page is zeros"

# last_page: what a stranger reads of it, or nothing. By its own process, which may wait.
last_page() {
	dd if="$REGIONS/orders" bs=4096 skip=$((mib * 256 - 1)) count=1 of="$WORK/read" 2> "$WORK/dd.err"
}

# start_and: an agent is started, and as soon as the region has its name the command is begun.
is_there() {
	[ -e "$REGIONS/orders" ]
}

lose_power
start_agent --no-ups
is_there || skip "this kernel does not let opens wait (fanotify's permission events)"
ns=$(timeout 20 "$WORDS" first orders 1)
field_is orders state restoring || echo "restored before the first read was looked at"
timeout 60 sh -c 'dd if="$1" bs=4096 skip="$2" count=1 of="$3" 2> /dev/null' sh "$REGIONS/orders" \
	$((mib * 256 - 1)) "$WORK/read" || fail "the region's file cannot be opened"
field_is orders state live || fail "the file was opened before all of it was restored"
cmp "$WORK/read" "$WORK/last" || fail "the last page is not what it was"
echo "first read after $((ns / 1000)) us"
pgrep -P "$AGENT" > "$WORK/children" || true

# Killed in the middle: who waits is refused, and gets no zeros; the next agent restores it all.
killed=0
for delay in 0 0.01 0.03 0.06 0.1; do
	lose_power
	"$PERDURE" serve --folder "$REGIONS" --images "$IMAGES" --no-ups --pid-file "$WORK/agent.pid" 2> "$LOG" &
	AGENT=$!
	STARTED="$STARTED $AGENT"
	wait_for 20 is_there || fail "the region gets no name: $(cat "$LOG")"
	rm -f "$WORK/read"
	last_page &
	reader=$!
	sleep $delay
	kill_agent
	if wait $reader; then
		[ ! -s "$WORK/read" ] || cmp "$WORK/read" "$WORK/last" || fail "a page that was not restored was read"
	else
		killed=$((killed + 1))
	fi
	if is_there && ! grep -q 'is restored' "$LOG"; then
		sleep 0.5
		! is_there || fail "the name of a region that is not restored is left"
	fi
done
[ $killed -gt 0 ] || fail "no reader was refused: the agent was always killed too late"
start_agent --no-ups
await 30 orders state live
words check orders 1
stop_agent
