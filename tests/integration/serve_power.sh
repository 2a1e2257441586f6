#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Power that fails, by a real UPS server: the save begins when it should and not when it should not,
# writers stay stopped while power is out, and what is restored is the memory at the signal (M5 2, 3, 5).
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/serve_common.sh"
. "$(dirname "$0")/ups_common.sh"

flip OL 100 600
chmod 640 "$ETC"/*
start_driver dummy
start_server
wait_for 20 upsc_answers $UPS || fail "upsd: $(cat "$WORK/server.log")"

serve() {
	start_agent --ups "$UPS" --ups-user agent --ups-password-file "$WORK/password" \
		--ride-through 2s --reserve 20s "$@"
}

write_for_ever() {
	"$WORDS" random orders 1 2048 > "$WORK/writer" &
	WRITER=$!
	STARTED="$STARTED $WRITER"
	wait_for 10 grep -q ready "$WORK/writer" || fail "the writer does not begin"
}

end_writer() {
	kill -KILL $WRITER
	wait $WRITER 2> /dev/null || true
}

says() {
	grep -q "$1" "$LOG"
}

saves() {
	grep -c 'saved 1 regions' "$LOG" || true
}

has_saved() {
	[ "$(saves)" -gt "$before" ]
}

# fails HOW...: what makes power fail is done, and a save ends within ten seconds of it.
fails() {
	before=$(saves)
	"$@"
	wait_for 10 has_saved || fail "no save after $*: $(cat "$LOG")"
}

# mute_for SECONDS PATTERN: it is not said.
mute_for() {
	sleep "$1"
	! says "$2" || fail "the agent says \"$2\": $(cat "$LOG")"
}

memory_stands() {
	cp "$REGIONS/orders" "$WORK/then"
	sleep 0.3
	cmp -s "$REGIONS/orders" "$WORK/then"
}

memory_moves() {
	! memory_stands
}

restored_as_then() {
	wait_for 10 upsc_answers $UPS || fail "upsd: $(cat "$WORK/server.log")"
	serve
	await 20 orders state live
	cmp "$REGIONS/orders" "$WORK/then" || fail "$1: what is restored is not the memory at the signal"
}

serve
create orders 8M
words fill orders 1 > /dev/null
await 30 orders armed True
words fill orders 1 | grep -q 'filled, armed' || fail "the program does not see that it is armed"
save --rehearse || fail "a rehearsal fails: $(cat "$WORK/saved" "$WORK/save.err" "$LOG")"
grep -q margin "$WORK/saved" || fail "no margin is said: $(cat "$WORK/saved")"

# A short outage is none.
write_for_ever
saves=$(grep -c 'save begins' "$LOG")
flip OB 95 500
sleep 1.3
flip OL 95 500
mute_for 3 'did not come back'
[ "$(grep -c 'save begins' "$LOG")" = "$saves" ] || fail "a short outage is saved for: $(cat "$LOG")"
memory_moves || fail "the writer is stopped, though power is there"

# A longer one: saved, the writers stand until power is back, and go on then (S2).
fails flip OB 90 400
memory_stands || fail "the writer goes on without power"
flip OL 90 400
wait_for 10 memory_moves || fail "the writer does not go on with power: $(cat "$LOG")"

# The battery is low: at once. How soon after the flip is measured.
fails flip 'OB LB' 10 60
echo "signal to the end of the save: $(($(date +%s%3N) - FLIPPED)) ms"
memory_stands || fail "the writer goes on after the save: $(cat "$LOG")"
end_writer
lose_power
flip OL 50 300
restored_as_then "low battery"

# The server ends while the UPS is on battery: the worst is assumed.
await 30 orders armed True
write_for_ever
flip OB 80 300
wait_for 5 says 'the UPS is on battery' || fail "the outage is not seen: $(cat "$LOG")"
fails kill -KILL $SERVER_PID
memory_stands || fail "the writer goes on after the save: $(cat "$LOG")"
end_writer
lose_power
flip OL 80 300
start_server
wait_for 20 upsc_answers $UPS || fail "upsd: $(cat "$WORK/server.log")"
restored_as_then "no server"

# It ends while the UPS is on mains: nothing is saved for that, but nothing is armed either.
await 30 orders armed True
kill -KILL $SERVER_PID
await 10 orders armed False
mute_for 2 'save begins'
start_server
await 30 orders armed True

# M5 control, power lost without a signal: the save before it is what is restored.
cp "$REGIONS/orders" "$WORK/then"
save
words fill orders 9 > /dev/null
lose_power
restored_as_then "no signal"

# SIGPWR needs no UPS.
await 30 orders armed True
write_for_ever
fails kill -PWR "$AGENT"
memory_stands || fail "the writer goes on after SIGPWR"
end_writer
lose_power
restored_as_then SIGPWR

# M5 8, a budget too small: refused in advance, in words.
flip OL 100 21
await 30 orders armed False
field orders why_not_armed | grep -q 's' || fail "no reason"
row 1 'largest' region --folder "$REGIONS" --persist create huge 100G
flip OL 100 600
await 30 orders armed True

# The primary forces a shutdown: saved at once, and then logged out, which it waits for (S4).
logged_in() {
	upsc -c "$UPS" 2> /dev/null | grep -q 127.0.0.1
}
is_logged_out() {
	! logged_in
}
wait_for 5 logged_in || fail "the agent is not logged in: $(cat "$LOG")"
write_for_ever
fails flip 'OB LB FSD' 5 60
wait_for 5 is_logged_out || fail "the agent stays logged in after its save: $(cat "$LOG")"
memory_stands || fail "the writer goes on before the power is cut: $(cat "$LOG")"
end_writer
lose_power
flip OL 100 600
restored_as_then FSD
stop_agent
