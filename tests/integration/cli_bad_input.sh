#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every wrong input gets one line that quotes it, and the right exit code; nothing is started.
. "$(dirname "$0")/common.sh"

touch "$WORK/plain" "$WORK/marker"
mkdir "$WORK/folder"
started="touch $WORK/started"

row 2 'a command is missing'
row 2 '"fly"' fly
row 2 '"--fly"' --fly
row 2 '"now" is too much' version now
row 2 'a command is missing' run
row 2 'a command is missing' run --
row 2 'a command is missing' run --local 64M
row 2 '"--fly"' run --fly -- $started
row 2 '"-x"' run -x $started
row 2 '"--local" needs a value' run --local
row 2 '"64Q"' run --local 64Q -- $started
row 2 '"-1"' run --local -1 -- $started
row 2 '""' run --local '' -- $started
row 2 '"99999999999999999999G"' run --local 99999999999999999999G -- $started
row 2 'the least that works is' run --local 4K -- $started
row 2 '"nowhere"' run --far nowhere -- $started
row 2 '"carrier-pigeon:1"' run --far carrier-pigeon:1 -- $started
row 2 'node://' run --far node:// -- $started
row 2 'node://host:99999' run --far node://host:99999 -- $started
row 2 '"3"' run --mirror 3 -- $started
row 2 '"two"' run --mirror two -- $started
row 2 'needs that many --far' run --mirror 2 -- $started
row 2 'needs that many --far' run --mirror 2 --far mem: -- $started
row 2 'one too many' run --far mem: --far mem: --far mem: --far mem: --far mem: --far mem: \
	--far mem: --far mem: --far mem: -- $started
row 2 '"soon"' run --timeout soon -- $started
row 2 '"1ns"' run --timeout 1ns -- $started
row 2 '"magic"' run --kernel magic -- $started
row 2 '"magic"' run --prefetch magic -- $started
row 2 '"bytes"' run --store bytes -- $started
row 2 '"soon"' run --prefetch-timer soon -- $started
row 2 '"0s"' run --prefetch-timer 0s -- $started
row 2 'shorter than --timeout' run --prefetch-timer 1s --timeout 1s -- $started
# What is waited for an answer depends on where the only copy is.
row 2 'than --timeout (10000ms)' run --prefetch-timer 10s -- $started
row 2 'than --timeout (60000ms)' run --prefetch-timer 60s --far mem: --far delay:1ms:file:f -- $started
row 2 'than --timeout (2000ms)' run --prefetch-timer 2s --mirror 2 --far mem: --far file:f -- $started
row 2 '""' run --report '' -- $started
row 1 "$WORK/none/report" run --report "$WORK/none/report" -- $started
row 1 "it is a directory" run --report "$WORK/folder" -- $started
row 1 "$WORK/none/file" run --far "file:$WORK/none/file" -- $started
row 127 '"no-such-program-here"' run -- no-such-program-here
row 127 "$WORK/none" run -- "$WORK/none"
row 127 'the command is empty' run -- ''
row 126 "$WORK/plain" run -- "$WORK/plain"
row 126 "$WORK/folder" run -- "$WORK/folder"
row 2 '"now"' status now
row 2 '"--fly"' status --fly
row 2 '"never"' top --interval never
row 2 '"0"' top --count 0
[ ! -e "$WORK/started" ] || fail "a program was started"
find "$WORK" -newer "$WORK/marker" -type f ! -name out ! -name err | grep . && fail "files are left"

# Help is no error: stdout, exit 0.
for command in '' run node status top; do
	"$PERDURE" $command --help > "$WORK/out" 2> "$WORK/err" || fail "perdure $command --help"
	grep -q '^usage: perdure' "$WORK/out" || fail "perdure $command --help: no usage"
	[ ! -s "$WORK/err" ] || fail "perdure $command --help: wrote to stderr"
done
[ "$("$PERDURE" version)" = "$("$PERDURE" --version)" ] || fail "two versions"
echo "$rows wrong inputs"
