# SPDX-License-Identifier: Apache-2.0
# Names for the everyday commands; meson does the work (meson.build).
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: all check demo bench soak install clean lint format-check format-columns fuzz

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	tools/install-packages build
	meson setup --prefix $(PREFIX) $(BUILD)

# Everything that CI runs: all tests in three builds, and the lint.
check:
	tools/check

# A memory node, and redis-server with four times its local memory, on this host.
demo:
	tools/demo

bench: all
	tools/install-packages bench
	bench/run --build $(BUILD)

# The integration tests over and over, with the seeds changing: make soak MINUTES=60
MINUTES ?= 60
soak:
	tools/soak $(MINUTES)

install: all
	DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild

lint:
	tools/lint

# For information: what clang-format would change.
format-check:
	tools/install-packages format
	git ls-files '*.c' '*.h' | xargs clang-format --dry-run 2>&1 | grep -c warning || true

# Breaks only the lines that are too long for the lint, and leaves the rest as people set it.
format-columns:
	tools/install-packages format
	git ls-files '*.c' '*.h' | while read -r file; do \
		lines=$$(expand -t8 "$$file" | awk 'length > 100 { printf "--lines=%d:%d ", NR, NR }'); \
		[ -z "$$lines" ] || clang-format -i $$lines "$$file"; \
	done

# Each parser's fuzz target for a while: make fuzz SECONDS=60
SECONDS ?= 60
fuzz:
	tools/fuzz $(SECONDS)

clean:
	rm -rf build build-asan build-tsan build-fuzz
