# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests that need a UPS's server, behind common.sh: a real upsd of the test's own, on
# a port of its own, with a driver of a UPS that is made up: `dummy` says what flip() tells it.

DRIVER=/lib/nut/dummy-ups
SERVER=/lib/nut/upsd # not /sbin/upsd, which is a wrapper
[ -x $DRIVER ] && [ -x $SERVER ] || skip "there is no $DRIVER or $SERVER: nut-server is missing"
command -v upsc > /dev/null || skip "there is no upsc: nut-client is missing"
[ "$(id -u)" = 0 ] || skip "NUT's programs need root to stay the user that starts them"

ETC=$WORK/etc
mkdir "$ETC" "$WORK/run"
export NUT_CONFPATH="$ETC" NUT_STATEPATH="$WORK/run" NUT_ALTPIDPATH="$WORK/run"
# Below those that the kernel gives to connections, and beside those of the tests' nodes.
PORT=$(python3 -c '
import random, socket
while True:
    port = random.randrange(12000, 19000)
    try:
        socket.socket().bind(("127.0.0.1", port))
        break
    except OSError:
        pass
print(port)')
UPS=dummy@127.0.0.1:$PORT

cat > "$ETC/ups.conf" << END
maxretry = 1
pollinterval = 1
[dummy]
	driver = dummy-ups
	port = dummy.dev
	mode = dummy-once
[bare]
	driver = dummy-ups
	port = bare.dev
	mode = dummy-once
END
printf 'LISTEN 127.0.0.1 %s\nMAXAGE 3\n' "$PORT" > "$ETC/upsd.conf"
printf '[agent]\n\tpassword = "a \\"word\\" to \\\\ pass"\n\tupsmon secondary\n' > "$ETC/upsd.users"
printf 'a "word" to \\ pass\n' > "$WORK/password"
chmod 600 "$WORK/password"
printf 'ups.status: OL\n' > "$ETC/bare.dev"

# flip STATUS CHARGE RUNTIME: the driver looks at the file's time, in whole seconds, so each has one
# of its own.
flips=1700000000
flip() {
	printf 'ups.status: %s\nbattery.charge: %s\nbattery.runtime: %s\n' "$1" "$2" "$3" > "$ETC/new"
	flips=$((flips + 1))
	touch -d @$flips "$ETC/new"
	chmod 640 "$ETC/new"
	FLIPPED=$(date +%s%3N)
	mv "$ETC/new" "$ETC/dummy.dev"
}

start_driver() {
	$DRIVER -a "$1" -u root -F > "$WORK/driver.$1.log" 2>&1 3>&- &
	DRIVER_PID=$!
	STARTED="$STARTED $DRIVER_PID"
}

start_server() {
	$SERVER -u root -F > "$WORK/server.log" 2>&1 3>&- &
	SERVER_PID=$!
	STARTED="$STARTED $SERVER_PID"
}

upsc_answers() {
	[ "$(upsc "$1" ups.status 2> /dev/null)" = OL ]
}
