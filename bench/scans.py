# SPDX-License-Identifier: Apache-2.0
"""Scans by real programs, with a quarter of their memory local: with prefetch and without.

Each program fills its memory, then scans all of it several times; the median of its own times
counts. Far memory is a node over tcp, as between hosts.
"""

import shutil
import statistics
import subprocess
import time

import overhead
from paging import Failed
from swap import Skip

WAYS = ("none", "adaptive")
BACKING = "node-tcp"
SCANS = 3
SECONDS_MAX = 240
REDIS_PORT = 17460

# Debian's own: another one may bring an allocator that does not ask the C library for memory.
PYTHON = "/usr/bin/python3"
PYTHON_LOCAL_MIB = 44
PYTHON_LIST = """
import time
items = [str(i) * 8 for i in range(1500000)]
for _ in range(%d):
    begun = time.monotonic()
    total = 0
    for item in items:
        total += len(item)
    print(time.monotonic() - begun, flush=True)
"""

SQLITE_LOCAL_MIB = 48
SQLITE_TABLE = """
CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200000)
INSERT INTO t SELECT i, hex(i * 2654435761) || hex(zeroblob(60)) FROM n;
.timer on
"""
SQLITE_SCAN = "SELECT count(*), sum(length(b)) FROM t WHERE b LIKE '%F7%';\n"

REDIS_LOCAL_MIB = 6
REDIS_KEYS = 100000  # each takes faults at random places
REDIS_FILL = ("for i = 1, %d do redis.call('SET', 'key:' .. i, string.rep('x', 100)) end" %
              REDIS_KEYS)
REDIS_SCAN = ("local c, n = '0', 0 repeat local r = redis.call('SCAN', c, 'COUNT', 1000) c = r[1] "
              "for _, k in ipairs(r[2]) do n = n + #redis.call('GET', k) end until c == '0' "
              "return n")


def _output(command, what, text=None):
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True,
                              timeout=SECONDS_MAX)
    except subprocess.TimeoutExpired:
        raise Failed(f"{what}: not done in {SECONDS_MAX} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise Failed(f"{what}: exit {done.returncode}: {lines[-1]}")
    return done.stdout


def _python(paging, way):
    wrap = paging.wrap(BACKING, way, PYTHON_LOCAL_MIB)
    text = _output([*wrap, "--", PYTHON, "-c", PYTHON_LIST % SCANS], "python3")
    return [float(line) for line in text.split()]


def _sqlite(paging, way):
    wrap = paging.wrap(BACKING, way, SQLITE_LOCAL_MIB)
    text = _output([*wrap, "--", "sqlite3", ":memory:"], "sqlite3",
                   SQLITE_TABLE + SQLITE_SCAN * SCANS)
    return [float(line.split()[3]) for line in text.splitlines() if line.startswith("Run Time:")]


def _redis(paging, way):
    wrap = paging.wrap(BACKING, way, REDIS_LOCAL_MIB)
    client = ["redis-cli", "-p", str(REDIS_PORT)]
    with overhead.server([*wrap, "--"], REDIS_PORT, str(paging.work)):
        _output([*client, "EVAL", REDIS_FILL, "0"], "redis-cli")
        times = []
        for _ in range(SCANS):
            begun = time.monotonic()
            seen = _output([*client, "EVAL", REDIS_SCAN, "0"], "redis-cli").strip()
            times.append(time.monotonic() - begun)
            if seen != str(REDIS_KEYS * 100):
                raise Failed(f"redis-cli: {seen} bytes of values were seen")
    return times


PROGRAMS = {"python list": _python, "sqlite table": _sqlite, "redis full scan": _redis}


def measure(paging, program):
    """The lines of one program's row: a phase for each way, with its seconds."""
    lines = []
    for tool in (PYTHON, "sqlite3", "redis-server"):
        if not shutil.which(tool):
            raise Skip(f"{tool} is not installed")
    for way in WAYS:
        # The first scan finds the memory as filling left it.
        seconds = statistics.median(PROGRAMS[program](paging, way)[1:])
        lines.append({"phase": way, "seconds": seconds})
    return lines
