#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# python3: lists, dicts, sorting, and a pool of forked workers.
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/node_common.sh"
. "$(dirname "$0")/run_common.sh"

# A shim of a version manager is a shell script; the program itself is wanted.
PYTHON=$(python3 -c 'import sys; print(sys.executable)')
cat > "$WORK/work.py" <<- 'END'
	import hashlib, multiprocessing, sys

	def digest(values):
	    total = hashlib.sha256()
	    for value in values:
	        total.update(repr(value).encode())
	    return total.hexdigest()

	count = 220000
	state = 1
	numbers = []
	for _ in range(count):
	    state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
	    numbers.append(state)
	names = {f"name {number:x}": [number, number % 97] for number in numbers}
	print(len(names), digest(sorted(names)[::50]))
	numbers.sort(key=lambda number: number * 2654435761 % 2**32)
	print(digest(numbers[::50]))
	by_rest = {}
	for name, (number, rest) in names.items():
	    by_rest.setdefault(rest, []).append(name)
	for rest in range(0, 97, 2):
	    del by_rest[rest]
	big = bytearray(range(256)) * 65536
	big.extend(big)
	print(hashlib.sha256(big).hexdigest())

	def worker(rest):
	    return rest, digest(sorted(by_rest[rest])[::20]), len(names)

	with multiprocessing.get_context("fork").Pool(2) as pool:
	    print(pool.map(worker, sorted(by_rest)[:12]))
	print(digest(sorted((rest, len(found)) for rest, found in by_rest.items())))
END
PYTHONHASHSEED=0
export PYTHONHASHSEED
same_output 60 24M "mem shm" "$PYTHON" "$WORK/work.py"
