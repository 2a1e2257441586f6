#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# stress-ng: all of its ways to use memory, each verified by itself.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

command -v stress-ng > /dev/null || skip "stress-ng is missing (apt install stress-ng)"
far "${BACKING:-mem}"
# Each worker is a process with a limit of its own.
stress() {
	status=0
	run_far 150 8M stress-ng --temp-path "$WORK" "$@" > "$WORK/out" 2>&1 || status=$?
	[ $status = 0 ] || fail "stress-ng $*: status $status: $(tail -n 5 "$WORK/out")"
	! grep -i -e 'fail:' -e 'SIGSEGV' -e 'SIGBUS' "$WORK/out" || fail "stress-ng $*"
	check_report "stress-ng $*"
}
stress --vm 2 --vm-bytes 64M --vm-method all --verify --vm-ops 60000 -t 20
stress --mremap 1 --mremap-bytes 32M --verify -t 3
stress --bigheap 1 --bigheap-growth 1M --bigheap-ops 64 --verify -t 5
