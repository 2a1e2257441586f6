#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Only who has the cluster key is served, and a client refuses a node that does not have it.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"

refused_node() {
	expected=$1 words=$2
	shift 2
	set +e
	timeout 10 "$PERDURE" node --listen 127.0.0.1:0 "$@" > "$WORK/out" 2> "$WORK/err"
	status=$?
	set -e
	[ $status = "$expected" ] || fail "node $*: exit $status: $(cat "$WORK/err")"
	[ "$(wc -l < "$WORK/err")" = 1 ] || fail "node $*: not one line: $(cat "$WORK/err")"
	grep -q "$words" "$WORK/err" || fail "node $*: no \"$words\" in: $(cat "$WORK/err")"
}

refused_client() {
	words=$1
	shift
	if "$@" > "$WORK/out" 2> "$WORK/err"; then
		fail "$*: was let in"
	fi
	grep -q "$words" "$WORK/err" || fail "$*: no \"$words\" in: $(cat "$WORK/err")"
}

umask 077
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$WORK/key"
cp "$WORK/key" "$WORK/key-line"
echo >> "$WORK/key-line"
head -c 32 /dev/urandom > "$WORK/other"
echo short > "$WORK/short"
cp "$WORK/key" "$WORK/open"
chmod 644 "$WORK/open"
head -c 5000 /dev/zero > "$WORK/long"
refused_node 1 'holds less than the 16 bytes' --key-file "$WORK/short"
refused_node 1 'holds more than the 1024 bytes' --key-file "$WORK/long"
refused_node 1 'open to every user; use chmod 600' --key-file "$WORK/open"
refused_node 1 "$WORK/none" --key-file "$WORK/none"
refused_node 1 'not a plain file' --key-file "$WORK"
refused_node 2 '"0.0.0.0" is not a loopback address' --listen 0.0.0.0:0
refused_node 2 '"::" is not a loopback address' --listen '[::]:0'
refused_node 2 '"nowhere:x"' --listen nowhere:x
refused_node 2 '"5"' --memory 5
refused_node 2 '"pigeon"' --transport pigeon
refused_node 2 '"now"' now

start_node --memory 64M --key-file "$WORK/key"
PERDURE_TEST_KEY=$WORK/key "$CLIENT" "$(uri auto)" open || fail "the right key is refused"
PERDURE_TEST_KEY=$WORK/key-line "$CLIENT" "$(uri auto)" open || fail "a line end counts"
refused_client 'another cluster key than the one given' \
	env PERDURE_TEST_KEY="$WORK/other" "$CLIENT" "$(uri auto)" open
refused_client 'another cluster key than none; give --key-file' "$CLIENT" "$(uri auto)" open
refused_client "open to every user" env PERDURE_TEST_KEY="$WORK/open" "$CLIENT" "$(uri auto)" open
[ "$(grep -c 'it does not have the key' "$LOG")" = 2 ] || fail "not logged: $(cat "$LOG")"
stop_node

# Nobody there; somebody there who is no node, or one without the key.
refused_client "cannot reach node 127.0.0.1:$PORT: Connection refused" "$CLIENT" "$(uri auto)" open
for kind in silent rubbish imposter; do
	: > "$WORK/fake"
	python3 "$(dirname "$0")/node_hostile.py" fake-node $kind > "$WORK/fake" &
	fake=$!
	STARTED="$STARTED $fake"
	wait_for 10 grep -q listening "$WORK/fake" || fail "the fake node does not start"
	PORT=$(sed 's/listening on //' "$WORK/fake")
	case $kind in
	silent) words='does not answer within' ;;
	rubbish) words='what answers there is no memory node' ;;
	imposter) words='another cluster key' ;;
	esac
	refused_client "$words" env PERDURE_TEST_KEY="$WORK/key" \
		"$CLIENT" "node://127.0.0.1:$PORT?timeout=500ms" open
	wait "$fake" || fail "the fake node $kind"
done
