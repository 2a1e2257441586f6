#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes its own heap, 60,000 small dicts, to a file: real pages for bench/pages.

usage: heap.py FILE
"""
import random
import sys

FILE_BYTES_MAX = 64 << 20


def main():
    random.seed(1)
    users = {
        "user:%08d" % i: {
            "name": "name %d" % i,
            "score": random.random(),
            "tags": [random.randint(0, 1000) for _ in range(5)],
        }
        for i in range(60000)
    }
    written = 0
    with open(sys.argv[1], "wb") as out, open("/proc/self/mem", "rb", 0) as memory:
        for line in open("/proc/self/maps").read().splitlines():
            fields = line.split()
            if "rw" not in fields[1] or (len(fields) > 5 and fields[5] != "[heap]"):
                continue
            start, end = (int(number, 16) for number in fields[0].split("-"))
            memory.seek(start)
            try:
                written += out.write(memory.read(end - start))
            except OSError:
                continue  # reserved, not readable
            if written > FILE_BYTES_MAX:
                break
    return 0 if users and written else 1


if __name__ == "__main__":
    sys.exit(main() if len(sys.argv) == 2 else __doc__)
