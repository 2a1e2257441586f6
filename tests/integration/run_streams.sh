#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The standard streams are the program's: bytes pass unchanged, and no one else writes.
. "$(dirname "$0")/common.sh"

head -c 3000000 /dev/urandom > "$WORK/in"
"$PERDURE" run -- cat < "$WORK/in" > "$WORK/out" 2> "$WORK/err"
cmp "$WORK/in" "$WORK/out" || fail "stdin to stdout"
[ ! -s "$WORK/err" ] || fail "stderr is not empty: $(cat "$WORK/err")"

"$PERDURE" run -- sh -c 'exec cat >&2' < "$WORK/in" > "$WORK/out" 2> "$WORK/err"
cmp "$WORK/in" "$WORK/err" || fail "stdin to stderr"
[ ! -s "$WORK/out" ] || fail "stdout is not empty"

# Closed streams stay closed: no descriptor of ours lands on them.
"$PERDURE" run -- sh -c 'for fd in 0 1 2; do [ ! -e /proc/$$/fd/$fd ] || exit 1; done' \
	<&- >&- 2>&- || fail "a closed stream is open in the program"

# Nor are any of our descriptors open in it: it has those that it has without us.
sh -c 'exec ls /proc/self/fd' < /dev/null > "$WORK/before"
"$PERDURE" run -- sh -c 'exec ls /proc/self/fd' < /dev/null > "$WORK/out" 2> "$WORK/err"
[ ! -s "$WORK/err" ] || fail "stderr: $(cat "$WORK/err")"
[ "${SANITIZED:-0}" = 0 ] || cmp "$WORK/before" "$WORK/out" ||
	fail "the launcher's descriptors are inherited"

# The program's environment is its own, but for what Perdure adds.
env | sed 's/=.*//' | grep -v '^_$' | sort > "$WORK/before"
"$PERDURE" run -- env | sed 's/=.*//' | grep -v '^_$' | sort > "$WORK/after"
comm -13 "$WORK/before" "$WORK/after" | grep -v -e '^PERDURE_' -e '^LD_PRELOAD$' &&
	fail "the environment grew"
comm -23 "$WORK/before" "$WORK/after" | grep . && fail "the environment shrank"

# A user's own preloaded library stays. (Not to be had in the launcher's own sanitizer builds.)
[ "${SANITIZED:-0}" = 0 ] || exit 0
printf 'int perdure_test_marker;\n' | cc -shared -fPIC -x c - -o "$WORK/own.so"
LD_PRELOAD=$WORK/own.so "$PERDURE" run -- cat /proc/self/maps | grep -q own.so ||
	fail "the user's LD_PRELOAD is lost"
