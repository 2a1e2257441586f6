#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A UPS's real server (NUT's upsd, with its driver of a UPS that is made up): all that it says is
# seen, and soon; a driver that dies, a server that hangs, dies and comes back are noticed, and
# whoever looks never waits; the login is there until the end.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/ups_common.sh"

CLIENT=$TEST_PROGRAMS/integration/ups_watch

# watch LOG ARGUMENTS...: a client that runs until its input is closed.
watch() {
	log=$1
	shift
	: > "$log"
	"$CLIENT" "$@" < "$WORK/input" > "$log" 2> "$WORK/err" 3>&- &
	WATCH=$!
	STARTED="$STARTED $WATCH"
}

last_is() {
	tail -n 1 "$1" | cut -d ' ' -f 2- | grep -q -- "$2"
}

# sees SECONDS PATTERN: the newest line is so, in time.
sees() {
	wait_for "$1" last_is "$WORK/log" "$2" ||
		fail "\"$2\" is not seen: $(cat "$WORK/log" "$WORK/err" "$WORK/server.log")"
}

# How long after the flip the newest line came.
since_flip() {
	seen=$(tail -n 1 "$WORK/log" | cut -d ' ' -f 1)
	echo $((seen - FLIPPED))
}

mkfifo "$WORK/input"
exec 3<> "$WORK/input"
flip OL 100 600
chmod 640 "$ETC"/*
start_driver bare
start_driver dummy
wait_for 10 [ -S "$WORK/run/dummy-ups-dummy" ] || fail "$(cat "$WORK/driver.dummy.log")"

# The server comes after its client.
watch "$WORK/log" $UPS agent "$WORK/password"
wait_for 10 [ -s "$WORK/log" -o -s "$WORK/err" ] || fail "the client says nothing"
! grep -q 'without NUT' "$WORK/err" || skip "this build is without NUT: libupsclient-dev is missing"
sees 10 "^unseen - ? ? out UPS $UPS: Connection failure: Connection refused"
start_server
wait_for 20 upsc_answers $UPS || fail "upsd: $(cat "$WORK/server.log")"
sees 5 '^answers OL 100 600 in $'

# What it says is seen, in no more than the driver's second and some.
times=
for state in 'OB 90 300' 'OL 91 310' 'OB 80 200' 'OL 81 210' 'OB 20 90' 'OB,LB 10 60' \
	'OB,LB,FSD 5 30' 'OL,RB 99 500' 'OL 100 600'; do
	set -- $state
	words=$(echo "$1" | tr ',' ' ')
	flip "$words" "$2" "$3"
	sees 10 "^answers $1 $2 $3 in \$"
	times="$times $(since_flip)"
done
# shellcheck disable=SC2086  # a list of numbers
set -- $(printf '%s\n' $times | sort -n)
echo "flip to seen, ms: $*; median $5, worst $9"
[ "$9" -le 2000 ] || fail "a flip is seen after $9 ms"

# Who is logged in, and what a UPS does not say.
[ "$(upsc -c $UPS 2> /dev/null)" = 127.0.0.1 ] || fail "not logged in: $(upsc -c $UPS)"
main=$WATCH
watch "$WORK/log.bare" "bare@127.0.0.1:$PORT"
wait_for 5 last_is "$WORK/log.bare" '^answers OL ? ? out $' || fail "$(cat "$WORK/log.bare")"
kill $WATCH
printf 'wrong\n' > "$WORK/wrong"
chmod 600 "$WORK/wrong"
watch "$WORK/log.wrong" $UPS agent "$WORK/wrong"
wait_for 5 last_is "$WORK/log.wrong" \
	"^answers OL 100 600 out UPS $UPS: user \"agent\" cannot log in: ERR ACCESS-DENIED" ||
	fail "$(cat "$WORK/log.wrong")"
kill $WATCH
watch "$WORK/log.none" "none@127.0.0.1:$PORT"
wait_for 5 last_is "$WORK/log.none" '^unseen - ? ? out UPS .*: upsd says UNKNOWN-UPS' ||
	fail "$(cat "$WORK/log.none")"
kill $WATCH
WATCH=$main

# The driver hangs, dies, and comes back.
kill -STOP $DRIVER_PID
sees 10 "^silent OL 100 600 in UPS $UPS: upsd says DATA-STALE"
kill -CONT $DRIVER_PID
sees 10 '^answers OL 100 600 in $'
flip OB 70 100
sees 5 '^answers OB 70 100 in $'
kill -KILL $DRIVER_PID
FLIPPED=$(date +%s%3N)
sees 10 "^silent OB 70 100 in UPS $UPS: upsd says DRIVER-NOT-CONNECTED"
echo "driver dead to silent: $(since_flip) ms"
start_driver dummy
sees 15 '^answers OB 70 100 in $'

# The server hangs: nothing comes, not even an error.
kill -STOP $SERVER_PID
FLIPPED=$(date +%s%3N)
sees 10 "^silent OB 70 100 [a-z]* UPS $UPS: "
ms=$(since_flip)
echo "server hangs to silent: $ms ms"
[ "$ms" -le 3500 ] || fail "a server that hangs is noticed after $ms ms"
sleep 3
kill -CONT $SERVER_PID
sees 10 '^answers OB 70 100 in $'

# It dies, and comes back.
kill -KILL $SERVER_PID
FLIPPED=$(date +%s%3N)
sees 10 "^silent OB 70 100 out UPS $UPS: "
echo "server dead to silent: $(since_flip) ms"
start_server
sees 20 '^answers OB 70 100 in $'

# At the end it logs out; a client of a server that hangs ends soon all the same.
flip OL 100 600
sees 5 '^answers OL 100 600 in $'
exec 3>&-
wait $WATCH || fail "the client ended with $?: $(cat "$WORK/err")"
tail -n 1 "$WORK/log"
us=$(sed -n 's/.* a look took \([0-9]*\) us.*/\1/p' "$WORK/log")
[ "$us" -le 100000 ] || fail "somebody waited for a look: $us us"
wait_for 5 [ -z "$(upsc -c $UPS 2> /dev/null)" ] || fail "still logged in: $(upsc -c $UPS)"

exec 3<> "$WORK/input"
watch "$WORK/log" $UPS agent "$WORK/password"
sees 10 '^answers OL 100 600 in $'
kill -STOP $SERVER_PID
sees 10 '^silent'
exec 3>&-
wait $WATCH || fail "the client of a server that hangs ended with $?: $(cat "$WORK/err")"
ms=$(sed -n 's/^closed after \([0-9]*\) ms.*/\1/p' "$WORK/log")
echo "closed, the server hanging, after $ms ms"
[ "$ms" -le 1900 ] || fail "closing took $ms ms"
