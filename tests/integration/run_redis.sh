#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# redis-server: digests equal to an all-local server, BGSAVE under writes, reload.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

command -v redis-server > /dev/null || skip "redis-server is missing (apt install redis-server)"

KEYS=70000 # about 1.3 KiB each with what Redis adds
LOCAL=24M

# server NAME COMMAND-PREFIX...: starts a server on $WORK/NAME.sock.
server() {
	name=$1
	shift
	mkdir -p "$WORK/$name"
	"$@" redis-server --port 0 --unixsocket "$WORK/$name.sock" --dir "$WORK/$name" --save '' \
		--enable-debug-command yes --daemonize no --appendonly no > "$WORK/$name.log" 2>&1 &
	SERVER=$!
	STARTED="$STARTED $SERVER"
	wait_for 60 answers_or_ended "$name" || true
	! is_gone "$SERVER" || fail "server $name ended: $(tail -n 5 "$WORK/$name.log")"
	answers "$name" || fail "server $name: $(tail -n 5 "$WORK/$name.log")"
}

cli() {
	name=$1
	shift
	timeout 120 redis-cli -s "$WORK/$name.sock" "$@"
}

answers() {
	[ "$(cli "$1" ping 2> /dev/null)" = PONG ]
}

answers_or_ended() {
	is_gone "$SERVER" || answers "$1"
}

digest() {
	cli "$1" debug digest
}

# load NAME FROM TO GENERATION: keys of all types whose contents follow from their numbers.
load() {
	at=$2
	while [ "$at" -lt "$3" ]; do
		cli "$1" eval '
			for key = tonumber(ARGV[1]), tonumber(ARGV[2]) do
				local hash = redis.sha1hex(key .. ":" .. ARGV[3])
				redis.call("SET", "s:" .. key, string.rep(hash, 25))
				if key % 8 == 0 then
					redis.call("HSET", "h:" .. key % 512, hash, key)
					redis.call("RPUSH", "l:" .. key % 64, hash)
					redis.call("ZADD", "z:" .. key % 32, key, hash)
					redis.call("SADD", "d:" .. key % 128, hash)
				end
			end' 0 "$at" $((at + 4999)) "$4" > /dev/null || fail "server $1 does not load"
		at=$((at + 5000))
	done
}

saved() {
	cli far info persistence | grep -q '^rdb_bgsave_in_progress:0'
}

# reload FILE: the digest that an all-local server has after reading it.
reload() {
	server reloaded
	cli reloaded shutdown nosave > /dev/null
	wait_for 10 is_gone "$SERVER" || fail "the reloading server does not stop"
	cp "$1" "$WORK/reloaded/dump.rdb"
	server reloaded
	wait_for 60 loaded || fail "the reloading server does not load"
	digest reloaded
	cli reloaded shutdown nosave > /dev/null
}

loaded() {
	cli reloaded info persistence | grep -q '^loading:0'
}

server native
far "${BACKING:-mem}"
server far "$PERDURE" run --local $LOCAL $FAR --report "$REPORT" --
LAUNCHER=$SERVER

load native 0 $KEYS 1
load far 0 $KEYS 1
at_fork=$(digest native)
[ "$(digest far)" = "$at_fork" ] || fail "after loading, the digests differ"

# The state of the fork is known exactly: no write until BGSAVE has answered, then many.
cli far bgsave > /dev/null
load far 0 $((KEYS / 2)) 2
wait_for 60 saved || fail "BGSAVE does not end"
cli far info persistence | grep -q '^rdb_last_bgsave_status:ok' || fail "BGSAVE failed"
[ "$(reload "$WORK/far/dump.rdb")" = "$at_fork" ] || fail "the RDB is not the data as at the fork"
load native 0 $((KEYS / 2)) 2
[ "$(digest far)" = "$(digest native)" ] || fail "after the writes during BGSAVE, digests differ"

timeout 120 redis-benchmark -s "$WORK/far.sock" -q -n 10000 -r 5000 -d 500 -c 20 \
	-t set,get,lpush,sadd,hset,zadd,mset > "$WORK/benchmark" 2>&1 || fail "redis-benchmark failed"
now=$(digest far)
cli far save > /dev/null
[ "$(reload "$WORK/far/dump.rdb")" = "$now" ] || fail "SAVE and reload: the digests differ"

cli far shutdown nosave > /dev/null
wait_for 20 is_gone "$LAUNCHER" || fail "perdure run does not end with its server"
status=0
wait "$LAUNCHER" || status=$?
[ $status = 0 ] || fail "the server's status is $status: $(tail -n 5 "$WORK/far.log")"
check_report redis-server
