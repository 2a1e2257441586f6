#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The report and `perdure status` say what they promise, and status sees only what it can trust.
. "$(dirname "$0")/common.sh"

report=$WORK/report.json
echo old > "$report"
"$PERDURE" run --local 64M --far mem: --far mem: --mirror 2 --report "$report" -- \
	/usr/bin/python3 -c 'import sys; sys.exit(3)' && fail "the exit status" || [ $? = 3 ]
# A link stays a link (root could replace /dev/stdout itself), and output beside the report stays.
ln -s "$WORK/special" "$WORK/link"
echo before > "$WORK/special"
"$PERDURE" run --report "$WORK/link" -- true || fail "a report to a link"
[ -L "$WORK/link" ] || fail "a link was replaced"
[ "$(head -n 1 "$WORK/special")" = before ] || fail "a report overwrote what was there"
sed -i 1d "$WORK/special"
"$PERDURE" run --report "$WORK/dangling" -- true || fail "a new report"
rm "$WORK/dangling" "$WORK/link"
set -- "$WORK"/report*
[ $# = 1 ] || fail "files are left: $*"

# One that is running, for status.
"$PERDURE" run --local 32M -- sleep 100 &
launcher=$!
STARTED="$launcher"
sees_it() { "$PERDURE" status | grep -q "^ *$launcher  sleep 100"; }
wait_for 10 sees_it || fail "status does not show the run"
"$PERDURE" status --json > "$WORK/status.json" || fail "status --json"
"$PERDURE" top --count 2 --interval 100ms > "$WORK/top" || fail "top"
[ "$(grep -c "^ *$launcher " "$WORK/top")" = 2 ] || fail "top does not show the run twice"

python3 - "$WORK" "$launcher" <<'PY' || fail "the fields"
import json, sys
work, launcher = sys.argv[1], int(sys.argv[2])
FIELDS = {"local_bytes_limit", "local_bytes_max", "region_bytes", "faults", "fault_ns_p50",
          "fault_ns_p99", "pages_fetched", "pages_evicted", "pages_written", "bytes_written",
          "second_chances", "fetch_timeouts", "backings", "command", "mirror", "processes"}
report = json.load(open(work + "/report.json"))
assert FIELDS <= set(report), FIELDS - set(report)
assert report["exit_status"] == 3 and report["local_bytes_limit"] == 64 << 20
assert report["mirror"] == 2 and len(report["backings"]) == 2 and report["version"]
assert report["command"].startswith("/usr/bin/python3 -c") and 0 <= report["seconds"] < 60
for backing in report["backings"]:
    assert {"uri", "pages", "bytes", "errors"} <= set(backing) and backing["uri"] == "mem:"
assert json.load(open(work + "/special"))["exit_status"] == 0
status = [run for run in json.load(open(work + "/status.json")) if run["pid"] == launcher]
assert len(status) == 1 and FIELDS <= set(status[0]) and status[0]["command"] == "sleep 100"
PY

# A stopped launcher does not stop its readers, and is counted.
kill -STOP $launcher
"$PERDURE" status > "$WORK/out" 2> "$WORK/err" || fail "status of a stopped launcher"
grep -q 'did not answer' "$WORK/err" || fail "a silent launcher is not counted"
kill -CONT $launcher

# A false one, whose memory could be cut off under the reader, is refused; and it is not trusted with
# a terminal.
cat > "$WORK/false.py" <<'PY'
import array, os, socket, sys, time
name, pid = sys.argv[1], os.getpid()
listener = socket.socket(socket.AF_UNIX)
listener.bind("\0perdure/run/%d" % pid)
listener.listen()
memory = os.memfd_create("false")
os.ftruncate(memory, 1 << 24)
open(name, "w").write(str(pid))
while True:
    peer, _ = listener.accept()
    peer.recv(1)
    peer.sendmsg([(1).to_bytes(4, "little") + b"\xff" * 4],
                 [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [memory]))])
    peer.close()
PY
python3 "$WORK/false.py" "$WORK/false.pid" &
STARTED="$STARTED $!"
wait_for 10 test -s "$WORK/false.pid" || fail "the false launcher does not start"
"$PERDURE" status > "$WORK/out" 2> "$WORK/err" || fail "status beside a false launcher"
grep -q "^ *$(cat "$WORK/false.pid") " "$WORK/out" && fail "a false launcher is believed"
grep -q "^ *$launcher " "$WORK/out" || fail "a false launcher hides a true one"
kill -TERM $launcher
wait $launcher || [ $? = 143 ] || fail "the end of the run"
