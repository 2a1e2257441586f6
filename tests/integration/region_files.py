#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: region_files.py VERB PLACE ACKNOWLEDGED

Programs under load on a file system. What one of them was told to be safe goes to the file
ACKNOWLEDGED, a number each, after the answer.

	sqlite		rows into the data base PLACE until it is killed, a transaction each
	redis		keys into the server at the socket PLACE until it is killed
	check-sqlite	all acknowledged rows are in the data base, and it is sound
	check-redis	all acknowledged keys are in the server
"""
import hashlib
import os
import socket
import sqlite3
import sys


def value(number):
    return hashlib.sha256(str(number).encode()).hexdigest() * (1 + number % 20)


def acknowledged(path):
    with open(path) as file:
        numbers = [int(line) for line in file if line.endswith("\n")]
    if len(numbers) < 20:
        sys.exit(f"only {len(numbers)} were acknowledged: nothing is tested")
    return numbers


class Redis:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def call(self, *words):
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            parts.append(b"$%d\r\n%s\r\n" % (len(word), word.encode()))
        self.socket.sendall(b"".join(parts))
        line = self.file.readline()
        if not line.endswith(b"\r\n") or line.startswith(b"-"):
            sys.exit(f"redis says {line}")
        if line.startswith(b"$") and line != b"$-1\r\n":
            return self.file.read(int(line[1:]) + 2)[:-2].decode()
        return None


def write(put, path):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    number = 0
    while True:
        put(number)
        os.write(file, b"%d\n" % number)
        number += 1


def write_sqlite(place, path):
    base = sqlite3.connect(place, isolation_level=None)
    base.execute("create table rows(number integer primary key, value text)")
    write(lambda number: base.execute("insert into rows values(?, ?)", (number, value(number))),
          path)


def write_redis(place, path):
    redis = Redis(place)
    write(lambda number: redis.call("SET", f"key:{number}", value(number)), path)


def check_sqlite(place, path):
    base = sqlite3.connect(place)
    sound = base.execute("pragma integrity_check").fetchone()[0]
    if sound != "ok":
        sys.exit(f"the data base is damaged: {sound}")
    rows = dict(base.execute("select number, value from rows"))
    missing = [number for number in acknowledged(path) if rows.get(number) != value(number)]
    if missing:
        sys.exit(f"{len(missing)} acknowledged rows are lost, {missing[0]} first")
    print(f"sqlite: {len(acknowledged(path))} acknowledged, {len(rows)} there")


def check_redis(place, path):
    redis = Redis(place)
    missing = [number for number in acknowledged(path)
               if redis.call("GET", f"key:{number}") != value(number)]
    if missing:
        sys.exit(f"{len(missing)} acknowledged keys are lost, {missing[0]} first")
    print(f"redis: {len(acknowledged(path))} acknowledged")


if __name__ == "__main__":
    {"sqlite": write_sqlite, "redis": write_redis, "check-sqlite": check_sqlite,
     "check-redis": check_redis}[sys.argv[1]](sys.argv[2], sys.argv[3])
