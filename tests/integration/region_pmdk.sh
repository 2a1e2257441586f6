#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A program of PMDK's that maps a region's file: what it persisted is there after a power failure.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/serve_common.sh"

PMDK=$TEST_PROGRAMS/integration/region_pmdk
[ -x "$PMDK" ] || skip "libpmem is missing (apt install libpmem-dev)"

has_acknowledged() {
	grep -q "^acknowledged $1\$" "$WORK/out"
}

# life FORCE: a program that goes on where the last ended, a power failure, and what is left.
life() {
	start_agent --no-ups
	[ -z "${made:-}" ] || await 20 store state live
	[ -n "${made:-}" ] || create store 64M
	made=yes
	found=$("$PMDK" check "$REGIONS/store" | sed 's/found //')
	: > "$WORK/out"
	PMEM_IS_PMEM_FORCE=$1 "$PMDK" write "$REGIONS/store" > "$WORK/out" &
	program=$!
	STARTED="$STARTED $program"
	wait_for 20 has_acknowledged $((found + 10000)) || fail "it does not write: $(tail -n 2 "$WORK/out")"
	grep -q "^pmem $1\$" "$WORK/out" || fail "not what PMEM_IS_PMEM_FORCE=$1 says: $(head -n 1 "$WORK/out")"
	save || fail "the save failed: $(cat "$WORK/save.err")"
	cut_power
	acknowledged=$(sed -n '$!s/acknowledged //p' "$WORK/out" | tail -n 1)
	is_gone $program || grep -q '^State:[[:space:]]*T' /proc/$program/status ||
		fail "the program runs on after the save"
	kill -KILL $program 2> /dev/null || true
	lose_power
	start_agent --no-ups
	await 20 store state live
	found=$("$PMDK" check "$REGIONS/store" | sed 's/found //')
	[ "${found:-0}" -ge "$acknowledged" ] || fail "$acknowledged were persisted, ${found:-0} are there"
	echo "PMEM_IS_PMEM_FORCE=$1: $acknowledged persisted, $found found"
	stop_agent
}

life 1
life 0
