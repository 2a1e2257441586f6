#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: tools/demo_redis.py PERDURE

Starts a memory node on loopback and, under `perdure run` with 64 MiB local, a redis-server;
fills it with 256 MiB of values, checks every one in another order, and says what happened. Exits
non-zero when a value is wrong, the bound was passed or something did not end well.
"""
import contextlib
import hashlib
import json
import os
import pathlib
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time

LOCAL_MIB = 64
DATA_MIB = 256
VALUE_BYTES = 4096
VALUES = DATA_MIB * 1024 * 1024 // VALUE_BYTES
BATCH = 256  # requests in flight: fewer than the sockets' buffers hold
STEPS = 8  # progress lines of each phase
WAIT_S = 30  # for any one answer


class Wrong(Exception):
    """The demonstration failed, in words."""


def value_of(number):
    return hashlib.shake_128(b"perdure demo %d" % number).digest(VALUE_BYTES)


def request(*words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


class Redis:
    """As much of a client as is needed here: pipelined requests over a Unix socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(WAIT_S)
        self.socket.connect(str(path))
        self.reader = self.socket.makefile("rb")

    def send(self, requests):
        self.socket.sendall(b"".join(requests))

    def reply(self):
        line = self.reader.readline()
        if line[:1] == b"$" and line != b"$-1\r\n":
            return self.reader.read(int(line[1:]) + 2)[:-2]
        return line.rstrip()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, process, log, ready):
    deadline = time.monotonic() + WAIT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Wrong(f"{what} does not start:\n{log.read_text()}")
        time.sleep(0.05)


def answers(address):
    with contextlib.suppress(OSError), socket.create_connection(address, 1):
        return True
    return False


@contextlib.contextmanager
def running(what, command, log):
    """A process that is ended by SIGTERM at the end, whatever happened."""
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            print(f"{what} did not end and was killed", file=sys.stderr)


def local_mib(perdure, pid):
    listed = subprocess.run([perdure, "status", "--json"], capture_output=True, text=True,
                            timeout=WAIT_S, check=True)
    for run in json.loads(listed.stdout):
        if run["pid"] == pid:
            return run["local_bytes_now"] / (1 << 20)
    return 0.0


def progress(doing, done, started, perdure, pid):
    mib = done * VALUE_BYTES >> 20
    print(f"  {doing} {mib:4d} of {DATA_MIB} MiB, {local_mib(perdure, pid):5.1f} MiB of it local, "
          f"{time.monotonic() - started:5.1f} s", flush=True)


def in_batches(numbers):
    for at in range(0, len(numbers), BATCH):
        yield numbers[at:at + BATCH]


def load(redis, perdure, pid):
    started, done = time.monotonic(), 0
    for batch in in_batches(range(VALUES)):
        redis.send([request(b"SET", b"key:%d" % n, value_of(n)) for n in batch])
        for number in batch:
            answer = redis.reply()
            if answer != b"+OK":
                raise Wrong(f"SET key:{number} was answered {answer!r}")
        done += len(batch)
        if done % (VALUES // STEPS) == 0:
            progress("loaded ", done, started, perdure, pid)


def check(redis, perdure, pid):
    started, done, wrong = time.monotonic(), 0, 0
    numbers = list(range(VALUES))
    random.Random(1).shuffle(numbers)
    for batch in in_batches(numbers):
        redis.send([request(b"GET", b"key:%d" % n) for n in batch])
        wrong += sum(redis.reply() != value_of(n) for n in batch)
        done += len(batch)
        if done % (VALUES // STEPS) == 0:
            progress("checked", done, started, perdure, pid)
    if wrong:
        raise Wrong(f"{wrong} of {VALUES} values came back wrong")


def print_table(report):
    limit, most = report["local_bytes_limit"], report["local_bytes_max"]
    rows = [
        ("values", f"{VALUES} of {VALUE_BYTES} bytes, all right"),
        ("region", f"{report['region_bytes'] / (1 << 20):.1f} MiB"),
        ("local, most", f"{most / (1 << 20):.1f} MiB of {limit / (1 << 20):.1f} MiB allowed"),
        ("faults", f"{report['faults']}"),
        ("fault p50 / p99", f"{report['fault_ns_p50'] / 1000:.1f} us / "
                            f"{report['fault_ns_p99'] / 1000:.1f} us"),
        ("pages in", f"{report['pages_fetched']}"),
        ("pages out", f"{report['pages_evicted']}, of which {report['pages_written']} written"),
    ]
    print()
    for name, value in rows:
        print(f"  {name:16} {value}")
    if most > limit:
        raise Wrong("the local bound was passed")
    if report["pages_fetched"] == 0:
        raise Wrong("nothing ever lived on the node: this was no demonstration")


def demonstrate(perdure, work):
    port, key = free_port(), work / "key"
    key.touch(mode=0o600)
    key.write_text(secrets.token_hex(32) + "\n")
    node_log, redis_log, report = work / "node.log", work / "redis.log", work / "report.json"
    node = [perdure, "node", "--listen", f"127.0.0.1:{port}", "--memory", "1G", "--key-file", key]
    server = ["redis-server", "--port", "0", "--unixsocket", work / "redis", "--save", "",
              "--appendonly", "no", "--dir", work]
    run = [perdure, "run", "--local", f"{LOCAL_MIB}M", "--far", f"node://127.0.0.1:{port}",
           "--key-file", key, "--report", report, "--", *server]
    print(f"a memory node on 127.0.0.1:{port}")
    with running("the memory node", node, node_log) as lender:
        wait_until("the memory node", lender, node_log, lambda: answers(("127.0.0.1", port)))
        print(f"perdure run --local {LOCAL_MIB}M --far node://127.0.0.1:{port} -- redis-server ...")
        with running("redis-server", run, redis_log) as user:
            wait_until("redis-server", user, redis_log, (work / "redis").exists)
            redis = Redis(work / "redis")
            load(redis, perdure, user.pid)
            check(redis, perdure, user.pid)
            redis.send([request(b"SHUTDOWN", b"NOSAVE")])
            if user.wait(WAIT_S) != 0:
                raise Wrong(f"redis-server ended with {user.returncode}:\n{redis_log.read_text()}")
        print_table(json.loads(report.read_text()))
        lender.send_signal(signal.SIGTERM)
        if lender.wait(WAIT_S) != 0:
            raise Wrong(f"the node ended with {lender.returncode}:\n{node_log.read_text()}")


def main():
    perdure = os.path.abspath(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="perdure-demo.") as work:
        try:
            demonstrate(perdure, pathlib.Path(work))
        except (Wrong, OSError, subprocess.SubprocessError) as failure:
            print(f"the demonstration failed: {failure}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
