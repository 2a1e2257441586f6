# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests of the agent, behind common.sh: an agent with folders of its own, whose
# memory can be lost.

WORDS=$TEST_PROGRAMS/programs/region_words
REGIONS=$(mktemp -d /dev/shm/regions-test.XXXXXX) # not perdure-*, which nodes' tests look through
IMAGES=$WORK/images
FOLDERS="$FOLDERS $REGIONS"
export PERDURE_FOLDER="$REGIONS"

# start_agent OPTIONS...: sets AGENT (its process) and LOG. Ended with the test.
start_agent() {
	agents=$((${agents:-0} + 1))
	LOG=$WORK/agent.$agents.log
	"$PERDURE" serve --folder "$REGIONS" --images "$IMAGES" --pid-file "$WORK/agent.pid" "$@" 2> "$LOG" &
	AGENT=$!
	STARTED="$STARTED $AGENT"
	wait_for 20 agent_is_ready || fail "the agent does not start: $(cat "$LOG")"
}

agent_is_ready() {
	[ "$(cat "$WORK/agent.pid" 2> /dev/null)" = "$AGENT" ]
}

# stop_agent: SIGTERM, a last save, and a good end.
stop_agent() {
	kill -TERM "$AGENT"
	set +e
	wait "$AGENT"
	status=$?
	set -e
	[ $status = 0 ] || fail "the agent's exit status is $status: $(cat "$LOG")"
}

kill_agent() {
	kill -KILL "$AGENT" 2> /dev/null || true
	wait "$AGENT" 2> /dev/null || true
}

# What lost power does: nothing that was in memory is left, the agent neither.
lose_power() {
	kill_agent
	rm -rf "$REGIONS"
	mkdir "$REGIONS"
}

region() {
	"$PERDURE" region --folder "$REGIONS" "$@"
}

create() {
	region create "$@" --persist || fail "region \"$1\" is not made: $(cat "$LOG")"
}

save() {
	"$PERDURE" save --folder "$REGIONS" "$@" > "$WORK/saved" 2> "$WORK/save.err"
}

words() {
	timeout -k 5 60 "$WORDS" "$@"
}

# field NAME FIELD: of `perdure region list --json`.
field() {
	region list --json | python3 -c '
import json, sys
for one in json.load(sys.stdin):
    if one["name"] == sys.argv[1]:
        print(one.get(sys.argv[2], ""))' "$1" "$2"
}

# field_is NAME FIELD VALUE
field_is() {
	[ "$(field "$1" "$2")" = "$3" ]
}

# await SECONDS NAME FIELD VALUE
await() {
	wait_for "$1" field_is "$2" "$3" "$4" || fail "$2: $3 is \"$(field "$2" "$3")\" and not \"$4\": $(field "$2" why_not_armed): $(cat "$LOG")"
}

has_saved_for_sigpwr() {
	sed -n '/SIGPWR/,$p' "$LOG" | grep -q ': saved [0-9]'
}

# cut_power: it fails. What is written before the agent's save counts; nobody writes after it.
cut_power() {
	kill -PWR "$AGENT"
	wait_for 20 has_saved_for_sigpwr || fail "no save: $(cat "$LOG")"
}
