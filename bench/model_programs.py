# SPDX-License-Identifier: Apache-2.0
"""The programs that bench/model records: real ones, short, with several MiB of working set."""

import os
import random
import subprocess
import sys
import time

SQL = """
CREATE TABLE item(id INTEGER PRIMARY KEY, kind INTEGER, words TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
INSERT INTO item SELECT i, i * 7919 % 997, printf('%0300d', i * 31337 % 1000003) FROM n;
CREATE INDEX item_kind ON item(kind);
SELECT count(*), sum(kind) FROM item WHERE words > '5';
UPDATE item SET words = words || 'x' WHERE id % 50 = 0;
SELECT count(*), max(words) FROM item WHERE id % 3 = 0;
SELECT kind, count(*) FROM item WHERE kind < 20 GROUP BY kind ORDER BY kind;
SELECT count(*), min(words) FROM item;
"""

PYTHON = """
import random
random.seed(1)
people = [(f"name {i}", i * 0.5, {"age": i % 90}) for i in range(12000)]
by_name = {person[0]: person for person in people}
for _ in range(2):
    total = sum(person[1] for person in people)
    oldest = max(people, key=lambda person: person[2]["age"])
for _ in range(4000):
    by_name[f"name {random.randrange(12000)}"][2]["age"] += 1
print(total, oldest[0], sum(person[2]["age"] for person in people))
"""


class Failed(Exception):
    """A program that could not be recorded."""


def record(perdure, trace, command, **keywords):
    done = subprocess.run([perdure, "model", "record", "--output", str(trace), "--", *command],
                          stdout=subprocess.DEVNULL, **keywords)
    if done.returncode:
        raise Failed(f"{command[0]}: exit {done.returncode}")


def sqlite(perdure, trace, folder):
    record(perdure, trace, ["sqlite3", ":memory:"], input=SQL.encode())


def python(perdure, trace, folder):
    record(perdure, trace, [sys.executable, "-S", "-c", PYTHON],
           env={**os.environ, "PYTHONHASHSEED": "0"})


def sort(perdure, trace, folder):
    numbers = random.Random(1)
    words = folder / "words"
    words.write_text("".join(f"{numbers.randrange(10**9):09d} {numbers.randrange(10**20):020d}\n"
                             for _ in range(40000)))
    record(perdure, trace, ["sort", "--parallel=1", "-S", "16M", "-o", str(folder / "sorted"),
                            str(words)], env={**os.environ, "LC_ALL": "C"})


def redis(perdure, trace, folder):
    """Values of 64 bytes under uniform keys: loaded, changed, and read all."""
    socket = folder / "redis.sock"
    socket.unlink(missing_ok=True)
    server = subprocess.Popen(
        [perdure, "model", "record", "--output", str(trace), "--", "redis-server", "--port", "0",
         "--unixsocket", str(socket), "--save", "", "--appendonly", "no"],
        stdout=subprocess.DEVNULL, cwd=folder)
    try:
        client = ["redis-cli", "-s", str(socket)]
        deadline = time.monotonic() + 60
        while subprocess.run([*client, "ping"], capture_output=True).stdout != b"PONG\n":
            if time.monotonic() > deadline or server.poll() is not None:
                raise Failed("redis-server does not answer")
            time.sleep(0.2)
        load = ["redis-benchmark", "-s", str(socket), "-q", "-c", "4", "-P", "16", "-d", "64",
                "-r", "12000"]
        subprocess.run([*load, "-t", "set", "-n", "16000"], check=True,
                       stdout=subprocess.DEVNULL, timeout=600)
        subprocess.run([*load, "-t", "get", "-n", "4000"], check=True,
                       stdout=subprocess.DEVNULL, timeout=600)
        script = "local s=0 for _,k in ipairs(redis.call('keys','*')) do " \
                 "s=s+#redis.call('get',k) end return s"
        subprocess.run([*client, "eval", script, "0"], check=True, stdout=subprocess.DEVNULL,
                       timeout=600)
        subprocess.run([*client, "shutdown", "nosave"], check=False, capture_output=True,
                       timeout=60)
        if server.wait(60):
            raise Failed(f"redis-server: exit {server.returncode}")
    finally:
        if server.poll() is None:
            server.kill()


PROGRAMS = {"sqlite3": sqlite, "python3": python, "sort": sort, "redis-server": redis}
