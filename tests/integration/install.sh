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

# The example of a man page, built against what is installed and nothing else.
sed '1,/^```$/d; /^```$/,$d' "$SOURCE_ROOT/man/pd_line_map.3.scd" > "$WORK/example.c"
flags=$(PKG_CONFIG_PATH=$(dirname "$pc") PKG_CONFIG_SYSROOT_DIR="$WORK/stage" \
	pkg-config --cflags --libs perdure) || fail "pkg-config"
cc -Wall -Wextra -Werror "$WORK/example.c" -o "$WORK/example" $flags || fail "with $flags"
LD_LIBRARY_PATH=$(dirname "$(dirname "$pc")") "$WORK/example" || fail "the example of pd_line_map(3)"
library=$(find "$prefix" -name libperdure.so)
needed=$(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
[ "$needed" = libc.so.6 ] || fail "libperdure needs $needed"
names=$(nm -D --defined-only "$library" | sed 's/.* //' | grep -v '^pd_') && fail "exports $names"
if command -v c++ > "$WORK/out"; then
	echo '#include <perdure/line_map.h>' | c++ -I"$prefix/include" -x c++ -fsyntax-only - ||
		fail "the header in C++"
fi

for page in "$SOURCE_ROOT"/man/*.scd; do
	name=$(basename "$page" .scd)
	[ -s "$prefix/share/man/man${name##*.}/$name" ] || fail "no man page $name"
done
