# SPDX-License-Identifier: Apache-2.0
"""The paging rows: one workload (touch) under no limit, under kernel swap and under Perdure."""

import contextlib
import json
import os
import pathlib
import secrets
import signal
import socket
import subprocess
import tempfile
import time

import swap

TOUCH_CPU = 0
NODE_CPU = 1
NODE_PORT = 17440
START_SECONDS_MAX = 10
# Past any row: a touch of the slowest kernel swap is limited by touch's own --seconds.
ROW_SECONDS_MAX = 300
SAMPLE_SECONDS = 0.2
SLOW_LINK = "delay:20us,bandwidth=100M:"  # about a gigabit a second
# Of uniform random touches with a quarter local, three quarters are far; fewer than this: nothing
# limited the memory, and the row would flatter whoever did not page.
FAR_SHARE_MIN = 0.5


class Failed(Exception):
    """A row that should have run and did not."""


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"


def run_program(command, what, watch=None):
    """Runs to the end, returns the JSON lines of stdout; `watch` is called while it runs."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        deadline = time.monotonic() + ROW_SECONDS_MAX
        try:
            while True:
                try:
                    process.wait(SAMPLE_SECONDS if watch else deadline - time.monotonic())
                    break
                except subprocess.TimeoutExpired:
                    if time.monotonic() > deadline:
                        raise Failed(f"{what}: not done in {ROW_SECONDS_MAX} s") from None
                    watch()
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(START_SECONDS_MAX)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        out.seek(0)
        err.seek(0)
        text, words = out.read(), last_line(err.read())
    if process.returncode == 77:
        raise swap.Skip(words)
    if process.returncode:
        raise Failed(f"{what}: exit {process.returncode}: {words}")
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def check_paged(lines, what):
    for line in lines:
        if line["phase"] == "random_read" and line["far"] < FAR_SHARE_MIN * line["touches"]:
            raise Failed(f"{what}: did not page: {line['far']} of {line['touches']} random "
                         "touches were far")


def check_report(report, what):
    """The limit held by the program's own count; tests watch it from outside."""
    highest, limit = report.get("local_bytes_max", 0), report.get("local_bytes_limit", 0)
    if highest > limit:
        raise Failed(f"{what}: {highest} bytes were local, the limit is {limit}")


class Node:
    """A memory node on loopback, on one CPU or anywhere."""

    def __init__(self, perdure, memory_mib, key_file, cpu, port):
        self.address = f"127.0.0.1:{port}"
        command = [perdure, "node", "--listen", self.address, "--memory", f"{memory_mib}M"]
        command += ["--key-file", str(key_file)]
        if cpu is not None:
            command = ["taskset", "-c", str(cpu)] + command
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self._wait(port)

    def _wait(self, port):
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                self.log.seek(0)
                raise Failed(f"perdure node: {last_line(self.log.read())}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise Failed("perdure node: does not listen within the limit")

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(START_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()


class Paging:
    def __init__(self, settings, tools, work):
        self.settings = settings
        self.tools = tools
        self.work = pathlib.Path(work)
        self.key_file = self.work / "cluster.key"
        self.key_file.write_text(secrets.token_hex(32) + "\n")
        self.key_file.chmod(0o600)
        self.nodes = contextlib.ExitStack()
        self.node_uris = {}

    def start_nodes(self):
        """One node on the CPU that the program is not pinned to, one that is not pinned."""
        if os.cpu_count() < 2:
            pinned = None
        else:
            pinned = NODE_CPU
        memory = self.settings["region_mib"] * 2 + 64
        for name, cpu, port in (("pinned", pinned, NODE_PORT), ("unpinned", None, NODE_PORT + 1)):
            node = Node(self.tools["perdure"], memory, self.key_file, cpu, port)
            self.nodes.callback(node.stop)
            self.node_uris[name] = node.address

    def stop_nodes(self):
        self.nodes.close()

    def touch(self, phases, threads=1, pinned=True, region_mib=None):
        region_mib = region_mib or self.settings["region_mib"]
        command = [self.tools["touch"], "--size", str(region_mib)]
        command += ["--phases", phases, "--threads", str(threads), "--data", self.settings["data"]]
        command += ["--touches", str(self.settings["touches"])]
        command += ["--seconds", str(self.settings["seconds_max"])]
        if pinned:
            cpus = list(range(min(os.cpu_count(), threads)))
            command += ["--cpu", ",".join(map(str, cpus))]
        return command

    def far_uri(self, backing):
        """mem, file, node-TRANSPORT, -unpinned and -slow, as --far takes them."""
        if backing == "mem":
            return "mem:"
        if backing == "file":
            return f"file:{self.work / 'far'}"
        place = self.node_uris["unpinned" if backing.endswith("unpinned") else "pinned"]
        transport = backing.split("-")[1]
        slow = SLOW_LINK if backing.endswith("slow") else ""
        return slow + self.settings["node_uri"].format(address=place, transport=transport)

    def wrap(self, backing, prefetch, local_mib, store="lines"):
        """What stands before a program's own command."""
        if not self.tools["perdure"]:
            raise Failed("the build directory has no perdure")
        if backing.startswith("node") and not self.node_uris:
            raise Failed("no memory node could be started")
        wrap = [self.tools["perdure"], "run", "--local", f"{local_mib}M", "--prefetch", prefetch]
        wrap += ["--store", store, "--far", self.far_uri(backing)]
        if backing.startswith("node"):
            wrap += ["--key-file", str(self.key_file)]
        return wrap

    def perdure(self, backing, command, prefetch, store="lines", local_mib=None):
        report = self.work / "report.json"
        report.unlink(missing_ok=True)
        local_mib = local_mib or self.settings["local_mib"]
        wrap = self.wrap(backing, prefetch, local_mib, store)
        wrap += ["--report", str(report)]
        lines = run_program(wrap + ["--"] + command, f"perdure {backing}")
        found = json.loads(report.read_text())
        check_paged(lines, f"perdure {backing}")
        check_report(found, f"perdure {backing}")
        return lines, found

    def native(self, command):
        return run_program(command, "native")

    def kernel_swap(self, kind, cluster, command):
        """Returns the lines and, for zram, how well the data compressed at its fullest."""
        limit = self.settings["local_mib"] << 20
        device = swap.zram() if kind == "zram" else swap.swap_file(self.work)
        ratios = []
        with swap.page_cluster(cluster), device as block, swap.memory_limit(limit) as prefix:

            def watch():
                if block:
                    ratios.append(swap.zram_fill(block))

            lines = run_program(prefix + command, f"swap {kind}", watch)
            check_paged(lines, f"swap {kind}")
        return lines, max(ratios)[1] if ratios else None

    def floor(self, transport, install, threads, pinned):
        if not self.tools["floor"]:
            raise Failed("the build directory has no floor")
        # The floor is not installed beside the fabric's module, so it is told where that lies.
        command = ["env", f"PERDURE_MODULE_DIR={self.tools['module_dir']}"]
        command += [self.tools["floor"], "--transport", transport, "--install", install]
        command += ["--threads", str(threads), "--rounds", str(self.settings["floor_rounds"])]
        if pinned:
            command += ["--cpu", ",".join(str(i) for i in range(min(os.cpu_count(), threads)))]
        if os.cpu_count() > 1:
            command += ["--far-cpu", str(NODE_CPU)]
        return run_program(command, f"floor {transport}")[0]
