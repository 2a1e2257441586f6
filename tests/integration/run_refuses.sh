#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What cannot be managed is said in one line with the remedy, before anything starts.
. "$(dirname "$0")/common.sh"

refused() {
	words=$1
	shift
	set +e
	"$@" > "$WORK/out" 2> "$WORK/err"
	status=$?
	set -e
	[ $status = 1 ] || fail "$*: exit $status: $(cat "$WORK/err")"
	[ "$(wc -l < "$WORK/err")" = 1 ] || fail "$*: not one line: $(cat "$WORK/err")"
	[ ! -s "$WORK/out" ] || fail "$*: it ran"
	grep -q "$words" "$WORK/err" || fail "$*: no \"$words\" in: $(cat "$WORK/err")"
}

printf '#include <stdio.h>\nint main(void) { puts("ran"); return 0; }\n' > "$WORK/hello.c"
cc "$WORK/hello.c" -o "$WORK/dynamic"
cc -static "$WORK/hello.c" -o "$WORK/static"
[ "$("$PERDURE" run "$WORK/dynamic")" = ran ] || fail "the dynamic program does not run"
refused 'statically linked' "$PERDURE" run "$WORK/static"

# Also when it is a script's interpreter, and one script's interpreter is another script.
printf '#!%s\n' "$WORK/static" > "$WORK/script"
printf '#! %s -x\n' "$WORK/script" > "$WORK/script-of-script"
chmod +x "$WORK/script" "$WORK/script-of-script"
refused 'statically linked' "$PERDURE" run "$WORK/script"
refused 'statically linked' "$PERDURE" run "$WORK/script-of-script"
printf '#!%s\n' "$WORK/loop" > "$WORK/loop"
chmod +x "$WORK/loop"
refused 'no interpreter' "$PERDURE" run "$WORK/loop"

# The machine field of the ELF header is at offset 18.
cp "$WORK/dynamic" "$WORK/foreign"
printf '\026\000' | dd of="$WORK/foreign" bs=1 seek=18 conv=notrunc 2> /dev/null
refused 'machine 22' "$PERDURE" run "$WORK/foreign"
head -c 70 "$WORK/dynamic" > "$WORK/cut"
chmod +x "$WORK/cut"
refused 'no executable' "$PERDURE" run "$WORK/cut"

[ "$(id -u)" = 0 ] || skip "root is needed to make setuid programs"
cp "$WORK/dynamic" "$WORK/setuid"
chown nobody "$WORK/setuid"
chmod 4755 "$WORK/setuid"
refused 'setuid' "$PERDURE" run "$WORK/setuid"
chown root "$WORK/setuid"
chmod 4755 "$WORK/setuid"
[ "$("$PERDURE" run "$WORK/setuid")" = ran ] || fail "setuid to oneself changes nothing"

# An ordinary user: no permission for userfaultfd, and programs with capabilities.
chmod 755 "$WORK"
use_empty_preload
cp "$PERDURE" "$WORK/perdure"
as_nobody() {
	setpriv --reuid nobody --regid nogroup --clear-groups --bounding-set -all --inh-caps -all "$@"
}
refused 'cap_sys_ptrace' as_nobody "$WORK/perdure" run "$WORK/dynamic"
cp "$WORK/dynamic" "$WORK/capable"
setcap cap_net_raw=ep "$WORK/capable" || skip "this file system keeps no file capabilities"
refused 'file capabilities' as_nobody "$WORK/perdure" run "$WORK/capable"

# With the capability on the binary it runs for them, and the program keeps it.
mkdir -p "$WORK/lib"
setcap cap_sys_ptrace=ep "$WORK/perdure"
as_nobody_bounded() {
	setpriv --reuid nobody --regid nogroup --clear-groups --inh-caps -all "$@"
}
set +e
as_nobody_bounded "$WORK/perdure" run "$WORK/dynamic" > "$WORK/out" 2> "$WORK/err"
set -e
# PERDURE_MODULE_DIR is not heeded here: only an installed library would be.
grep -q -e '^ran$' "$WORK/out" || grep -q 'PERDURE_MODULE_DIR' "$WORK/err" ||
	fail "a binary with the capability: $(cat "$WORK/err")"
