# SPDX-License-Identifier: Apache-2.0
"""What of changed memory is stored, and how long that takes: changed lines against whole pages.

Random 8-byte writes (bench/touch.c) over three links, and redis-benchmark's SET of small values to
uniform keys, with a quarter of the memory local. The ways are measured in turn.
"""

import json
import shutil
import subprocess

import overhead
from paging import Failed
from swap import Skip

WAYS = ("pages", "lines")
WRITES = "random writes"
LINKS = ("node-cma", "node-tcp", "node-tcp-slow")
ROUNDS = 2
REGION_MIB = 128  # so small that all of local memory is another's several times over
SECONDS_MAX = 240

REDIS = "redis SET"
REDIS_BACKING = "node-tcp"
REDIS_PORT = 17470
REDIS_LOCAL_MIB = 15
REDIS_KEYS = 300000
REDIS_REQUESTS = 60000
REDIS_FILL = ("for i = 0, %d do redis.call('SET', string.format('key:%%012d', i), "
              "string.rep('x', 64)) end" % (REDIS_KEYS - 1))


def _in_turn(measure):
    """The lines of a row: for each way its bytes and its time, once a round."""
    lines = []
    for turn in range(ROUNDS):
        for way in WAYS if turn % 2 == 0 else reversed(WAYS):
            lines.append({"phase": way, **measure(way)})
    return lines


def writes(paging, backing):
    # Every page has been far once when the writes begin; until then all ways store the same.
    filling = paging.touch("fill,touch", region_mib=REGION_MIB)
    before = paging.perdure("node-cma", filling, "adaptive",
                            local_mib=REGION_MIB // 4)[1]["bytes_written"]

    def measure(way):
        command = paging.touch("fill,touch,random_write", region_mib=REGION_MIB)
        lines, report = paging.perdure(backing, command, "adaptive", way, REGION_MIB // 4)
        phase = next(line for line in lines if line["phase"] == "random_write")
        return {"bytes": (report["bytes_written"] - before) / phase["touches"],
                "ns": phase["mean_ns"]}

    return _in_turn(measure)


def _bytes_written(perdure, pid):
    listed = subprocess.run([perdure, "status", "--json"], capture_output=True, text=True,
                            timeout=SECONDS_MAX, check=True)
    return next(run["bytes_written"] for run in json.loads(listed.stdout) if run["pid"] == pid)


def _run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX)
    if done.returncode:
        raise Failed(f"{command[0]}: exit {done.returncode}: {done.stderr.strip()}")


def redis(paging):
    for tool in ("redis-server", "redis-benchmark", "redis-cli"):
        if not shutil.which(tool):
            raise Skip(f"{tool} is not installed")
    perdure = paging.tools["perdure"]

    def measure(way):
        wrap = paging.wrap(REDIS_BACKING, "adaptive", REDIS_LOCAL_MIB, way) + ["--"]
        with overhead.server(wrap, REDIS_PORT, str(paging.work)) as server:
            _run(["redis-cli", "-p", str(REDIS_PORT), "EVAL", REDIS_FILL, "0"])
            # Once over what filling left in its own order.
            overhead.set_values(REDIS_PORT, REDIS_KEYS, 64, REDIS_REQUESTS // 3)
            before = _bytes_written(perdure, server.pid)
            rps = overhead.set_values(REDIS_PORT, REDIS_KEYS, 64, REDIS_REQUESTS)
            stored = _bytes_written(perdure, server.pid) - before
        return {"bytes": stored / REDIS_REQUESTS, "ns": 1e9 / rps}

    return _in_turn(measure)
