#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# perdure model: wrong input in one line, damaged traces refused with the offset and nothing counted, a
# real program recorded and run.
. "$(dirname "$0")/common.sh"

trace=$SOURCE_ROOT/tests/fuzz/corpus/trace/mixed
touch "$WORK/empty"

row 2 'a trace is missing' model
row 2 '"two" is too much' model "$trace" two
row 2 '"--fly"' model --fly "$trace"
row 2 '"magic" is none of none, line and next-N' model --policy magic "$trace"
row 2 '"x"' model --policy next-x "$trace"
row 2 '"33"' model --policy next-33 "$trace"
row 2 'is not below --bus-timeout' model --timer 50us "$trace"
row 2 'is not below --bus-timeout' model "$trace" --timer 20us --bus-timeout 20us
row 2 '"soon"' model --timer soon "$trace"
row 2 'does not divide' model --local 513K "$trace"
row 2 'is too little' model --local 64K "$trace"
row 2 '"101"' model --local 101% "$trace"
row 2 '"0"' model --local 0 "$trace"
row 2 'does not divide' model --private 5000 "$trace"
row 2 'does not divide' model --shared 3M "$trace"
row 2 'does not divide' model --bitmap-cache 100 "$trace"
row 2 'does not divide' model --tlb 100 "$trace"
row 2 '"9"' model --cores 9 "$trace"
row 2 '--link-bandwidth' model --link-bandwidth 1K "$trace"
row 2 '"sideways" is neither' model --frames sideways "$trace"
row 2 '"heaven" is neither' model --tables heaven "$trace"
row 2 '"all" is neither' model --grant all "$trace"
row 2 'a command is missing' model record
row 2 'a command is missing' model record --
row 2 '"" is no file name' model record --output '' -- true
row 2 '"--fly"' model record --fly
row 1 "$WORK/none" model "$WORK/none"
row 1 'is no ordinary file' model "$WORK"
row 1 'at byte 0: it ends within its header' model "$WORK/empty"
row 1 'is no trace' model "$0"

# Damage: the offset and the reason, and nothing is counted.
bytes=$(wc -c < "$trace")
head -c $((bytes - 1)) "$trace" > "$WORK/cut"
row 1 'bytes before the end of this block' model "$WORK/cut"
head -c 40 "$trace" > "$WORK/cut"
row 1 'at byte 32: it ends within a block' model "$WORK/cut"
cp "$trace" "$WORK/changed"
printf '\377' | dd of="$WORK/changed" bs=1 seek=100 conv=notrunc 2> "$WORK/dd"
row 1 "at byte 32: the block's checksum is wrong" model "$WORK/changed"
cat "$trace" "$trace" > "$WORK/twice"
row 1 "at byte $bytes: bytes follow behind the last block" model "$WORK/twice"

# Whole: a table that says what it is, JSON that is the same each time.
"$PERDURE" model "$trace" > "$WORK/table"
grep -q '^modelled: ' "$WORK/table" || fail "the table does not say that it is modelled"
grep -q 'next-7 *line$' "$WORK/table" || fail "no controls beside the policy: $(cat "$WORK/table")"
"$PERDURE" model --json "$trace" > "$WORK/1.json"
"$PERDURE" model "$trace" --json --seed 1 > "$WORK/2.json"
cmp "$WORK/1.json" "$WORK/2.json" || fail "two runs differ"
"$PERDURE" model --help | grep -q '^usage: perdure model' || fail "no usage"
"$PERDURE" model record --help | grep -q '^usage: perdure model record' || fail "no usage"

# Without valgrind one line says what to install.
mkdir "$WORK/bin"
row_path=$WORK/bin
row 1 'install the package valgrind' model record --output "$WORK/x" -- true
row_path=$PATH
[ ! -e "$WORK/x" ] || fail "a trace without a recording is left"
echo "$rows wrong inputs"

command -v valgrind > "$WORK/which" || skip "valgrind is missing"
[ "${SANITIZED:-0}" = 0 ] || exit 0

status=0
"$PERDURE" model record --output "$WORK/sh.trace" -- sh -c 'echo out; exit 7' \
	> "$WORK/out" 2> "$WORK/err" || status=$?
[ $status = 7 ] || fail "exit $status, not the program's 7: $(cat "$WORK/err")"
[ "$(cat "$WORK/out")" = out ] || fail "the program's output: $(cat "$WORK/out")"
grep -q 'references in' "$WORK/err" || fail "nothing said of the recording: $(cat "$WORK/err")"
status=0
"$PERDURE" model record --output "$WORK/killed.trace" -- sh -c 'kill -TERM $$' 2> "$WORK/err" ||
	status=$?
[ $status = 143 ] || fail "exit $status of a killed program, not 143"
"$PERDURE" model "$WORK/killed.trace" > "$WORK/out" || fail "a killed program's trace is not whole"
status=0
"$PERDURE" model record --output "$WORK/none.trace" -- "$WORK/no-such" 2> "$WORK/err" || status=$?
[ $status = 127 ] || fail "exit $status of a missing program, not 127: $(cat "$WORK/err")"
[ ! -e "$WORK/none.trace" ] || fail "an empty trace is left"

# A program whose lines of page-table entries are worth reading: a scan of 16 MiB, twice.
"$PERDURE" model record --output "$WORK/scan.trace" -- "$TEST_PROGRAMS/programs/model_scan" \
	> "$WORK/out" 2> "$WORK/err" ||
	fail "model_scan: $(cat "$WORK/err")"
"$PERDURE" model --json --local 4M "$WORK/scan.trace" > "$WORK/scan.json"
python3 - "$WORK/scan.json" << 'END'
import json, sys
report = json.load(open(sys.argv[1]))
none, following, line = report["runs"]
assert report["modelled"] is True
assert [r["policy"] for r in report["runs"]] == ["none", "next-7", "line"]
assert none["demand_misses"] > 8000, none
assert line["coverage"] > 0.8 and line["accuracy"] > 0.9, line
assert following["coverage"] < 0.25 and following["accuracy"] < 0.1, following
assert line["demand_misses"] * 6 < none["demand_misses"], line
assert line["bytes_back_pages"] > 7 * line["bytes_back_lines"], line
assert line["flat"]["slow_reads"] > 2 * line["hierarchy"]["slow_reads"], line
assert all(r["stale_lines"] == 0 and r["bus_timeouts"] == 0 for r in report["runs"])
END
