#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Signals go through the launcher, a stop stops both, and nothing outlives a killed launcher.
. "$(dirname "$0")/common.sh"

# The program says what it got; it is its own shell, so that $! below is the launcher.
cat > "$WORK/program" <<'SH'
#!/bin/sh
for name in HUP INT QUIT TERM USR1 USR2 WINCH; do
	trap "echo $name >> $0.got" $name
done
trap 'exit 42' ALRM
echo $$ > "$0.pid"
while :; do sleep 0.02; done
SH
chmod +x "$WORK/program"

start() {
	rm -f "$WORK/program.pid" "$WORK/program.got"
	"$PERDURE" run --report "$WORK/report" -- "$WORK/program" &
	launcher=$!
	STARTED="$STARTED $launcher"
	wait_for 10 test -s "$WORK/program.pid" || fail "the program does not start"
	program=$(cat "$WORK/program.pid")
	STARTED="$STARTED $program"
}
got() { grep -qx "$1" "$WORK/program.got" 2> /dev/null; }
state_is() { grep -q "^State:[[:space:]]*$2" "/proc/$1/status"; }

start
# INT and QUIT are ignored by background jobs of a shell, so they are not among these.
for name in HUP TERM USR1 USR2 WINCH; do
	kill -$name $launcher
	wait_for 5 got $name || fail "SIG$name did not reach the program"
done
sleep 0.2
[ "$(wc -l < "$WORK/program.got")" = 5 ] || fail "a signal came twice: $(cat "$WORK/program.got")"

kill -STOP $program
wait_for 5 state_is $launcher T || fail "the launcher does not stop with its program"
kill -CONT $launcher
wait_for 5 state_is $program '[SR]' || fail "the program does not continue with its launcher"
kill -ALRM $launcher
set +e
wait $launcher
[ $? = 42 ] || fail "the exit status after all this"
set -e
python3 -m json.tool "$WORK/report" > /dev/null || fail "the report is no JSON"

# The report is also written when a signal ends the program.
printf '#!/bin/sh\necho $$ > "$0.pid"\nexec sleep 100\n' > "$WORK/program"
rm "$WORK/report"
start
kill -TERM $launcher
set +e
wait $launcher
[ $? = 143 ] || fail "the end by SIGTERM"
set -e
python3 - "$WORK/report" <<'PY' || fail "the report after SIGTERM"
import json, sys
assert json.load(open(sys.argv[1]))["signal"] == 15
PY

rm "$WORK/report"
start
kill -KILL $launcher
wait_for 5 is_gone $program || fail "the program outlives its launcher"
[ ! -e "$WORK/report" ] || fail "a report was written"
grep -q "perdure/run/$launcher" /proc/net/unix && fail "the socket is still there"
set -- "$WORK"/report*
[ ! -e "$1" ] || fail "files are left: $*"
