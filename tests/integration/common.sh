# SPDX-License-Identifier: Apache-2.0
# Sourced by the tests of this folder: a work folder that goes away, and words for failing.
# $PERDURE, $TEST_PROGRAMS, $SOURCE_ROOT, $BUILD_ROOT and $SANITIZED come from tests/meson.build.
set -eu

WORK=$(mktemp -d "${TMPDIR:-/tmp}/perdure-test.XXXXXX")
STARTED= # processes that the test started and that are to be gone at its end
FOLDERS= # other folders of the test, which go away as well
clean_up() {
	status=$?
	for pid in $STARTED; do
		kill -KILL "$pid" 2> /dev/null || true
	done
	rm -rf "$WORK" $FOLDERS
	exit $status
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

fail() {
	echo "FAILED: $*" >&2
	exit 1
}

skip() {
	echo "$*"
	exit 77
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
	left=$(($1 * 20))
	shift
	until "$@"; do
		[ $left -gt 0 ] || return 1
		left=$((left - 1))
		sleep 0.05
	done
}

# row EXIT SUBSTRING ARGUMENTS...: a wrong input of perdure's gets one line with the words, and no
# more. $row_path is the PATH that it sees.
rows=0
row_path=$PATH
row() {
	expected=$1 words=$2
	shift 2
	rows=$((rows + 1))
	set +e
	PATH=$row_path "$PERDURE" "$@" > "$WORK/out" 2> "$WORK/err" < /dev/null
	status=$?
	set -e
	[ $status = "$expected" ] || fail "perdure $*: exit $status, not $expected: $(cat "$WORK/err")"
	[ "$(wc -l < "$WORK/err")" = 1 ] || fail "perdure $*: not one line: $(cat "$WORK/err")"
	[ ! -s "$WORK/out" ] || fail "perdure $*: wrote to stdout: $(cat "$WORK/out")"
	grep -qF -- "$words" "$WORK/err" || fail "perdure $*: no \"$words\" in: $(cat "$WORK/err")"
}

is_gone() {
	# A zombie has ended too.
	! grep -q '^State:[[:space:]]*[^Z]' "/proc/$1/status" 2> /dev/null
}

# The launcher alone, with a library in the program that does nothing: for tests of the launcher's
# conduct in sanitizer builds, whose preload library a plain program cannot load.
use_empty_preload() {
	mkdir -p "$WORK/modules"
	echo 'int perdure_nothing;' | cc -shared -fPIC -x c - -o "$WORK/modules/libperdure-preload.so"
	PERDURE_MODULE_DIR=$WORK/modules
	export PERDURE_MODULE_DIR
}

# Whether this build has the library that is preloaded; the launcher looks for it at this place.
has_preload() {
	[ -e "$BUILD_ROOT/src/preload/libperdure-preload.so" ]
}

if [ "${SANITIZED:-0}" != 0 ] || ! has_preload; then
	use_empty_preload
fi
