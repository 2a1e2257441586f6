#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Programs that have a region's file and know nothing of Perdure are stopped during a save: the saved
# bytes are those of one moment. Its control: without the freezer they are a mixture.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/serve_common.sh"

foreign=$(dirname "$0")/region_foreign.py

state_of() {
	sed 's/.*) \(.\).*/\1/' "/proc/$1/stat"
}

is_in_state() {
	[ "$(state_of "$1")" = "$2" ]
}

says() {
	grep -q "$1" "$LOG"
}

freezer() {
	for pid in $(cat "/proc/$AGENT/task/$AGENT/children"); do
		[ "$(cat "/proc/$pid/comm")" != perdure-freezer ] || echo "$pid"
	done
}

# start_writer: sets WRITER.
start_writer() {
	python3 "$foreign" write "$REGIONS/plain" &
	WRITER=$!
	STARTED="$STARTED $WRITER"
	wait_for 10 grep -q "$REGIONS/plain" "/proc/$WRITER/maps" || fail "the writer maps nothing"
}

start_agent --no-ups
create plain 16M
start_writer
sleep 1000 < "$REGIONS/plain" &
reader=$!
sleep 1000 < "$REGIONS/plain" &
stopped=$!
STARTED="$STARTED $reader $stopped"
kill -STOP $stopped
wait_for 5 is_in_state $stopped T

# A save that was asked for: afterwards they go on, but for the one that its user had stopped.
sleep 0.5
save || fail "the save failed: $(cat "$WORK/save.err")"
wait_for 5 is_in_state $reader S || fail "the reader is not told to go on"
wait_for 5 is_in_state "$WRITER" R || fail "the writer is not told to go on"
is_in_state $stopped T || fail "a process that its user had stopped goes on"

# The power fails: they stay stopped after the save, and what is saved is one moment's.
cut_power
is_in_state "$WRITER" T || fail "the writer runs on after the save"
is_in_state $reader T || fail "the reader runs on after the save"
python3 "$foreign" check "$REGIONS/plain" > "$WORK/last" || fail "the file itself is a mixture"
kill -KILL "$WRITER" $reader $stopped
lose_power
start_agent --no-ups
await 20 plain state live
python3 "$foreign" check "$REGIONS/plain" > "$WORK/restored" || fail "what was restored is a mixture"
cmp "$WORK/last" "$WORK/restored" || fail "not the last moment before the cut"

# An agent that is killed while they are stopped lets them go.
start_writer
sleep 0.5
cut_power
is_in_state "$WRITER" T || fail "the writer runs on after the save"
kill_agent
wait_for 5 is_in_state "$WRITER" R || fail "nobody tells the writer to go on"
kill -KILL "$WRITER"

# A freezer that hangs holds up a save for seconds, and only the first. When it goes on, so do they.
start_agent --no-ups
await 20 plain state live
start_writer
kill -STOP "$(freezer)"
save || fail "no save while the freezer hangs: $(cat "$WORK/save.err")"
says 'could be held still within 3 s' || fail "not a word: $(cat "$LOG")"
save || fail "no second save while the freezer hangs: $(cat "$WORK/save.err")"
says 'the freezer hangs' || fail "not a word: $(cat "$LOG")"
kill -CONT "$(freezer)"
sleep 0.5
save || fail "no save after that: $(cat "$WORK/save.err")"
wait_for 5 is_in_state "$WRITER" R || fail "the writer is not told to go on"
kill -KILL "$WRITER"

# The control: nobody stops them.
kill -KILL "$(freezer)"
start_writer
mixed=0
for turn in 1 2 3 4 5; do
	sleep 0.5
	save || fail "no save without the freezer: $(cat "$WORK/save.err")"
	[ $turn -gt 1 ] || says 'the freezer has ended' || fail "not a word: $(cat "$LOG")"
	kill -STOP "$WRITER" # it would write to the new file otherwise
	lose_power
	start_agent --no-ups
	await 20 plain state live
	python3 "$foreign" check "$REGIONS/plain" > "$WORK/restored" 2> "$WORK/mixture" || mixed=$turn
	kill -KILL "$WRITER"
	[ $mixed = 0 ] || break
	kill -KILL "$(freezer)"
	start_writer
done
[ $mixed -gt 0 ] || fail "one moment's bytes, though nobody was stopped: the test tests nothing"
stop_agent
