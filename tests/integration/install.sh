#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make install` into a staging folder, and everything found and used from there.
. "$(dirname "$0")/common.sh"

DESTDIR=$WORK/stage meson install -C "$BUILD_ROOT" --no-rebuild --quiet > "$WORK/log" 2>&1 ||
	fail "meson install: $(cat "$WORK/log")"
perdure=$(find "$WORK/stage" -path '*/bin/perdure' -type f)
[ -x "$perdure" ] || fail "no bin/perdure"
prefix=${perdure%/bin/perdure}

[ "$("$perdure" version)" = "$("$PERDURE" version)" ] || fail "another version"
if has_preload; then
	"$perdure" run -- sh -c 'echo "$LD_PRELOAD"; exit 7' > "$WORK/out" && fail "exit" || [ $? = 7 ]
	case $(cat "$WORK/out") in
	"$prefix"/lib/*/libperdure-preload.so | "$prefix"/lib/*/libperdure-preload.so:*) ;;
	*) fail "not the installed library: $(cat "$WORK/out")" ;;
	esac
fi

pc=$(find "$prefix" -name perdure.pc)
[ -n "$pc" ] || fail "no perdure.pc"
version=$(PKG_CONFIG_PATH=$(dirname "$pc") pkg-config --modversion perdure)
[ "perdure $version" = "$("$perdure" version)" ] || fail "perdure.pc says $version"
printf '#include <perdure/version.h>\nint main(void) { return PERDURE_VERSION_MAJOR; }\n' |
	cc -I"$prefix/include" -x c - -o "$WORK/a.out" || fail "the header"

for page in "$SOURCE_ROOT"/man/*.scd; do
	name=$(basename "$page" .scd)
	[ -s "$prefix/share/man/man${name##*.}/$name" ] || fail "no man page $name"
done
