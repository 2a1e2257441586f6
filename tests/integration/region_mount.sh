#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ext4 on a region, with SQLite and Redis under load: after a power failure every write that was
# acknowledged is there, and the file system is in order.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/serve_common.sh"

[ -e /dev/loop-control ] || skip "/dev/loop-control is missing: the kernel has no loop devices"
for program in mkfs.ext4 e2fsck redis-server python3; do
	command -v $program > /dev/null || skip "$program is missing"
done

files=$(dirname "$0")/region_files.py
mounted=$WORK/mounted
socket=$WORK/redis.sock
mkdir "$mounted" "$WORK/other"

# What the file system holds must not be removed with the folder: the mount goes first.
unmount_all() {
	for folder in "$mounted" "$WORK/other"; do
		mountpoint -q "$folder" && umount -l "$folder" || true
	done
}
trap 'status=$?; kill_all; unmount_all; set +e; (exit $status); clean_up' EXIT

kill_all() {
	for pid in $STARTED; do
		kill -KILL "$pid" 2> /dev/null || true
	done
}

loops() {
	losetup -a | grep -F "$REGIONS/" || true
}

no_loops() {
	[ -z "$(loops)" ]
}

start_redis() {
	redis-server --port 0 --unixsocket "$socket" --dir "$mounted" --save '' --appendonly yes \
		--appendfsync always --daemonize no > "$WORK/redis.log" 2>&1 &
	REDIS=$!
	STARTED="$STARTED $REDIS"
	wait_for 20 answers || fail "redis does not start: $(tail -n 3 "$WORK/redis.log")"
}

answers() {
	[ "$(redis-cli -s "$socket" ping 2> /dev/null)" = PONG ]
}

lines() {
	cat "$WORK/sqlite" "$WORK/redis" 2> /dev/null | wc -l
}

has_more() {
	[ "$(lines)" -gt "$1" ]
}

# What is wrong is said in one line, and nothing is left.
start_agent --no-ups
create fs 64M
create small 64K
create words 1M
row 1 'there is no region "none"' region --folder "$REGIONS" mount none "$mounted"
row 1 'make the directory first' region --folder "$REGIONS" mount fs "$WORK/none"
row 1 "\"$LOG\" is no directory" region --folder "$REGIONS" mount fs "$LOG"
row 1 'has no ext4 file system; --format makes one' region --folder "$REGIONS" mount fs "$mounted"
row 1 'mkfs.ext4 failed' region --folder "$REGIONS" mount small "$mounted" --format
row 1 'no region that is mounted' region --folder "$REGIONS" unmount fs
row 1 "no region is mounted on \"$mounted\"" region --folder "$REGIONS" unmount "$mounted"
row 2 'usage: perdure region mount NAME DIR' region --folder "$REGIONS" mount fs
words fill words 1 > /dev/null
await 5 words writers 0
row 1 'is not empty: --format would destroy' region --folder "$REGIONS" mount words "$mounted" --format
no_loops || fail "loop devices are left: $(loops)"

# Mounted and unmounted, by name and by directory; a second file system on it is refused.
region mount fs "$mounted" --format
row 1 "is mounted on \"$mounted\" already" region --folder "$REGIONS" mount fs "$WORK/other"
row 1 'region unmount fs` first' region --folder "$REGIONS" destroy fs
row 1 "no region is mounted on \"$WORK\"" region --folder "$REGIONS" unmount "$WORK"
(cd "$mounted" && row 1 'fuser' region --folder "$REGIONS" unmount fs)
region unmount fs
no_loops || fail "loop devices are left: $(loops)"
row 1 'has a file system already' region --folder "$REGIONS" mount fs "$mounted" --format
region mount fs "$mounted"
region unmount "$mounted"
no_loops || fail "loop devices are left: $(loops)"

# Load, through saves that were asked for.
region mount fs "$mounted"
start_redis
for program in sqlite redis; do
	place=$mounted/rows.db
	[ $program = sqlite ] || place=$socket
	python3 "$files" $program "$place" "$WORK/$program" &
	STARTED="$STARTED $!"
	WRITERS="${WRITERS:-} $!"
done
wait_for 20 has_more 50 || fail "the load does not begin"
for turn in 1 2 3; do
	save || fail "the save failed: $(cat "$WORK/save.err")"
	wait_for 10 has_more "$(lines)" || fail "the load does not go on after a save"
done

# The power fails. What was only written and not synced is there as well: the save froze it.
head -c 3000000 /dev/urandom > "$WORK/unsynced"
cp "$WORK/unsynced" "$mounted/unsynced"
cut_power
before=$(lines)
sleep 0.5
[ "$(lines)" = "$before" ] || fail "writes are acknowledged after the save"
for pid in $WRITERS $REDIS; do
	kill -KILL "$pid"
done
lose_power
for pid in $WRITERS $REDIS; do
	wait_for 10 is_gone "$pid" || fail "process $pid hangs: the file system is still frozen"
done
umount -l "$mounted"
wait_for 10 no_loops || fail "loop devices are left: $(loops)"
[ ! -e "$REGIONS/fs" ] || fail "the memory is not lost"

# It comes back: first the file system as it is, with nothing replayed, then what is in it.
start_agent --no-ups
await 20 fs state live
e2fsck -fn "$REGIONS/fs" > "$WORK/fsck" 2>&1 || fail "fsck: $(cat "$WORK/fsck")"
! grep -qi 'recover' "$WORK/fsck" || fail "not frozen: $(cat "$WORK/fsck")"
region mount fs "$mounted"
python3 "$files" check-sqlite "$mounted/rows.db" "$WORK/sqlite"
start_redis
python3 "$files" check-redis "$socket" "$WORK/redis"
cmp "$WORK/unsynced" "$mounted/unsynced" || fail "what was not synced is lost"
kill -KILL "$REDIS"
wait_for 10 is_gone "$REDIS"
region unmount "$mounted"
e2fsck -fn "$REGIONS/fs" > "$WORK/fsck" 2>&1 || fail "fsck after use: $(cat "$WORK/fsck")"

# An agent that ends or is killed leaves the mount alone.
region mount fs "$mounted"
kill_agent
echo more > "$mounted/more"
sync "$mounted/more"
start_agent --no-ups
echo again > "$mounted/more"
save || fail "the save failed: $(cat "$WORK/save.err")"
stop_agent
echo last > "$mounted/more"

# One whose log is on the region itself does not wait for itself.
LOG=$mounted/log
"$PERDURE" serve --folder "$REGIONS" --images "$IMAGES" --pid-file "$WORK/agent.pid" --no-ups 2> "$LOG" &
AGENT=$!
STARTED="$STARTED $AGENT"
wait_for 20 agent_is_ready || fail "the agent does not start: $(cat "$LOG")"
timeout 20 "$PERDURE" save --folder "$REGIONS" > /dev/null || {
	fsfreeze -u "$mounted" || true # or it waits for good
	fail "the agent waits for its own log"
}
grep -q 'is not frozen: the agent' "$LOG" || fail "not a word: $(cat "$LOG")"
stop_agent
umount "$mounted"
wait_for 10 no_loops || fail "loop devices are left: $(loops)"
