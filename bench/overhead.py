# SPDX-License-Identifier: Apache-2.0
"""What Perdure costs a program that never reaches its limit: redis-benchmark, native and under it.

Servers run side by side and are measured in turn, A B A B: what the machine does in a minute then
falls on both alike. A second native server (the control) shows how far two equal things differ.
Server on CPU 0, client on CPU 1.
"""

import contextlib
import csv
import io
import os
import shutil
import socket
import subprocess
import tempfile
import time

from paging import NODE_CPU, START_SECONDS_MAX, TOUCH_CPU, Failed
from swap import Skip

PORT = 17450
LOCAL = "4G"
PIPELINES = (1, 16)
TESTS = ("SET", "GET")
KEYS = 100000
VALUE_BYTES = 128


def _pin(cpu):
    return ["taskset", "-c", str(cpu)] if os.cpu_count() > 1 else []


@contextlib.contextmanager
def server(prefix, port, directory):
    command = _pin(TOUCH_CPU) + prefix
    command += ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--appendonly", "no", "--dir", directory, "--daemonize", "no"]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait(process, port, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(START_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(process, port, log):
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            log.seek(0)
            lines = log.read().strip().splitlines() or ["no message"]
            raise Failed(f"redis-server: exit {process.returncode}: {lines[-1]}")
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise Failed("redis-server: does not answer within the limit")


def measure(port, pipeline, requests):
    return _benchmark(port, ["-t", "set,get", "-P", str(pipeline), "-n", str(requests),
                             "-r", str(KEYS), "-d", str(VALUE_BYTES)])


def _benchmark(port, options):
    """Requests a second of each test, from redis-benchmark's own count."""
    command = _pin(NODE_CPU) + ["redis-benchmark", "-p", str(port), "--csv"] + options
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    if done.returncode:
        raise Failed(f"redis-benchmark: exit {done.returncode}")
    rows = csv.DictReader(io.StringIO(done.stdout))
    return {row["test"]: float(row["rps"]) for row in rows}


def set_values(port, keys, value_bytes, requests):
    """SETs a second, to uniform keys."""
    return _benchmark(port, ["-t", "set", "-P", "1", "-n", str(requests), "-r", str(keys),
                             "-d", str(value_bytes)])["SET"]


def samples(perdure, settings, progress):
    """A list of {server, pipeline, test, rps}; `perdure` None leaves the pairs without it."""
    for tool in ("redis-server", "redis-benchmark"):
        if not shutil.which(tool):
            raise Skip(f"{tool} is not installed (apt-get install redis)")
    wraps = {"native": [], "control": []}
    if perdure:
        wraps["perdure"] = [perdure, "run", "--local", LOCAL, "--"]
    ports = {name: PORT + i for i, name in enumerate(wraps)}
    result = []
    for restart in range(settings["redis_restarts"]):
        progress(f"redis overhead, servers {restart + 1} of {settings['redis_restarts']}")
        with contextlib.ExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-"))
            for name, prefix in wraps.items():
                stack.enter_context(server(prefix, ports[name], directory))
                measure(ports[name], 16, 2 * KEYS)  # warm-up: the keys exist, caches are filled
            for pair in range(settings["redis_pairs"]):
                names = list(wraps)
                # The order turns, so that none is always the first.
                names = names[pair % len(names):] + names[:pair % len(names)]
                for pipeline in PIPELINES:
                    requests = settings["redis_requests"] * (1 if pipeline == 1 else 5)
                    for name in names:
                        for test, rps in measure(ports[name], pipeline, requests).items():
                            result.append({"server": name, "pipeline": pipeline, "test": test,
                                           "rps": rps})
    return result
