#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: region_foreign.py write|check FILE

A writer of a region that knows nothing of Perdure. It writes 1 to the first word of each page, one
page after the other, then 2, and so on until it is killed. So at every moment the pages up to one
have a number, and those behind it the number before: `check` says whether the file is like that.
"""
import mmap
import os
import sys

PAGE = 4096


def words_of(path):
    file = os.open(path, os.O_RDWR)
    memory = mmap.mmap(file, 0)
    os.close(file)
    return memoryview(memory).cast("Q")


def write(words):
    turn = words[0]
    while True:
        turn += 1
        for at in range(0, len(words), PAGE // 8):
            words[at] = turn


def check(words):
    turns = [words[at] for at in range(0, len(words), PAGE // 8)]
    behind = turns.count(turns[0] - 1)
    if turns != [turns[0]] * (len(turns) - behind) + [turns[0] - 1] * behind:
        sys.exit(f"a mixture of moments: {sorted(set(turns))}")
    print(turns[0])


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](words_of(sys.argv[2]))
