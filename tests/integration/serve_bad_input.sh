#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What the agent and its clients answer to wrong input and states: one line, and nothing is touched.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/serve_common.sh"

row 2 'no UPS is named' serve
row 2 'one of them' serve --no-ups --ups a@b
row 2 '"somewhere"' serve --ups somewhere
row 2 '"here"' serve --no-ups --folder here
row 2 '"soon"' serve --no-ups --ride-through soon
row 2 'less than 64K' serve --no-ups --dirty-max 1K
row 2 '"/tmp"' serve --no-ups --config /tmp
row 1 'not on a tmpfs' serve --no-ups --folder /proc --images "$WORK/none"
row 2 '"lots"' serve --no-ups --dirty-max lots
row 1 "$WORK/none/images" serve --no-ups --folder "$REGIONS" --images "$WORK/none/images"
row 2 "$WORK/none" serve --config "$WORK/none"
printf '# a comment\nno-ups\nimages = %s\n\nride-thru = 5s\n' "$IMAGES" > "$WORK/conf"
row 2 "line 5: unknown option \"ride-thru\"" serve --config "$WORK/conf"
printf 'no-ups = yes\n' > "$WORK/conf"
row 2 'takes no value' serve --config "$WORK/conf"
printf 'images\n' > "$WORK/conf"
row 2 'wants a value' serve --config "$WORK/conf"
row 2 'create, list, destroy, mount or unmount' region
row 2 '"eat"' region eat
row 2 'create NAME SIZE' region create one
row 1 'no agent at' region --folder "$WORK" list
row 1 'no agent at' save --folder "$WORK"

printf 'no-ups\nfolder = %s # where\nimages=%s\ndirty-max = 8M\n' "$REGIONS" "$IMAGES" > "$WORK/conf"
start_agent --config "$WORK/conf"
row 1 'another agent' serve --no-ups --folder "$REGIONS" --images "$IMAGES"
at="--folder $REGIONS --persist"
row 1 '--persist' region --folder "$REGIONS" create one 1M
row 1 '"a/b"' region $at create a/b 1M
row 1 '".one"' region $at create .one 1M
row 1 'must not be empty' region $at create '' 1M
row 1 'agent.sock' region $at create agent.sock 1M
row 1 "too long" region $at create aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 1M
row 1 '"0"' region $at create one 0
row 1 '"many"' region $at create one many
row 1 'is the largest' region $at create one 900T
create one 1M
row 1 '"one"' region $at create one 1M
row 1 'no region "two"' region --folder "$REGIONS" destroy two
row 2 '"nobody-here"' region $at --owner nobody-here create two 1M
words fill two 1 2> "$WORK/err" && fail "a region that is none was opened"
grep -q 'no region "two"' "$WORK/err" || fail "no words for a region that is none: $(cat "$WORK/err")"
save --rehearse && fail "a rehearsal succeeds, though nothing is armed"
grep -q 'NOT armed: no UPS' "$WORK/save.err" || fail "no reason: $(cat "$WORK/save.err")"

# Another user's region is not opened; its owner's is.
if command -v setpriv > /dev/null; then
	create mine 1M --owner 65534
	chmod 755 "$WORK" "$REGIONS"
	setpriv --reuid 65534 --clear-groups "$PERDURE" region --folder "$REGIONS" list > /dev/null ||
		fail "another user may not look"
	setpriv --reuid 65534 --clear-groups "$PERDURE" region --folder "$REGIONS" destroy mine 2> "$WORK/err" &&
		fail "another user may destroy"
	grep -q 'root' "$WORK/err" || fail "no words: $(cat "$WORK/err")"
	setpriv --reuid 65534 --clear-groups "$WORDS" fill one 1 2> "$WORK/err" && fail "another user may open"
	grep -q "another user's" "$WORK/err" || fail "no words: $(cat "$WORK/err")"
fi

# No room in memory.
mkdir "$WORK/small"
if mount -t tmpfs -o size=4M none "$WORK/small" 2> /dev/null; then
	stop_agent
	"$PERDURE" serve --no-ups --folder "$WORK/small" --images "$WORK/images2" --pid-file "$WORK/agent.pid" 2> "$LOG" &
	AGENT=$!
	STARTED="$STARTED $AGENT"
	wait_for 20 agent_is_ready || fail "the agent does not start on a small tmpfs: $(cat "$LOG")"
	row 1 'no room' region --folder "$WORK/small" --persist create big 16M
	stop_agent
	[ "$(ls -A "$WORK/small" "$WORK/images2" | grep -c big)" = 0 ] || fail "a region that was refused is left"
	umount "$WORK/small"
	start_agent --no-ups
fi

# Images that are damaged, of a newer format, or another host's: named, not served, left as they are.
words fill one 1 > /dev/null
save
stop_agent
rm -rf "$REGIONS"/* "$REGIONS"/.[!.]*
change() {
	cp "$IMAGES/one.image" "$IMAGES/$1.image"
	python3 "$(dirname "$0")/image_change.py" "$1" "$IMAGES/$1.image"
	cp "$IMAGES/$1.image" "$WORK/$1.before"
}
change newer
change stranger
change damaged
: > "$IMAGES/empty.image"
start_agent --no-ups
for name in newer stranger damaged empty; do
	field_is $name state damaged || fail "\"$name\" is served"
	grep "\"$name\" is not served" "$LOG" || fail "\"$name\" is not named: $(cat "$LOG")"
	words fill $name 1 2> "$WORK/err" && fail "\"$name\" was opened"
done
grep -q 'newer.*newer' "$LOG" || fail "a newer format is not said: $(cat "$LOG")"
grep -q 'stranger.*another host' "$LOG" || fail "another host's is not said: $(cat "$LOG")"
await 20 one state live
words check one 1
stop_agent
for name in newer stranger damaged; do
	cmp "$IMAGES/$name.image" "$WORK/$name.before" || fail "\"$name\" was written to"
done
echo "$rows wrong inputs"
