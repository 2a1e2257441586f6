# SPDX-License-Identifier: Apache-2.0
"""usage: run_faults.py CASE SEED [COUNT], from run_*.sh

Memory nodes that are killed, stopped and restarted under a program whose memory lies on them. The
program, mem_loop, verifies every page it touches; what is checked here is that it neither dies nor
hangs with a mirror, and that without one it dies at once and says why.
"""
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

PERDURE = os.environ["PERDURE"]
LOOP = os.environ["TEST_PROGRAMS"] + "/programs/mem_loop"
WORK = os.environ["WORK"]
LOCAL = "4M"
SIZE_MIB = "12"
processes = []  # all that were started here
loops = []


def read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError as error:
        return error.strerror


def describe(loop):
    """What a program does that does not do what it should."""
    status = loop.status()
    print({key: value for key, value in status.items() if key != "processes"}, file=sys.stderr)
    for process in status.get("processes", []):
        tasks = f"/proc/{process['pid']}/task"
        for task in os.listdir(tasks) if os.path.isdir(tasks) else []:
            words = [read(f"{tasks}/{task}/{name}") for name in ("comm", "wchan", "syscall")]
            print(task, read(f"{tasks}/{task}/stat").split(") ")[-1][:1], *words, file=sys.stderr)


def fail(words):
    print(f"FAILED: {words}", file=sys.stderr)
    for loop in loops:
        describe(loop)
    sys.exit(1)


def wait_until(seconds, what, condition):
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            fail(f"{what}: not within {seconds} s")
        time.sleep(0.03)


class Node:
    """One memory node, on the same port through all its lives."""

    def __init__(self, name):
        self.log = f"{WORK}/{name}.log"
        self.port = 0  # none yet
        self.process = None
        self.start()

    def start(self):
        for _ in range(50):
            if self.try_start():
                return
            time.sleep(0.05)
        fail(f"a node does not start: {open(self.log).read()}")

    def try_start(self):
        """False when it could not listen: the port of the last life may be taken for a moment."""
        # Below those that the kernel gives to connections: one of them would keep it for long.
        port = self.port or random.randrange(20000, 32000)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [PERDURE, "node", "--listen", f"127.0.0.1:{port}", "--memory", "256M"],
                stderr=log, stdin=subprocess.DEVNULL)
        processes.append(self.process)
        for _ in range(400):
            found = re.search(r"listening on 127.0.0.1:(\d+)", open(self.log).read())
            if found:
                self.port = int(found[1])
                return True
            if self.process.poll() is not None:
                return False
            time.sleep(0.025)
        return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def workers(self):
        """The node and its children, for the signals that must reach all of them."""
        try:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as children:
                return [int(pid) for pid in children.read().split()]
        except FileNotFoundError:
            return []

    def signal(self, number):
        for pid in [self.process.pid] + self.workers():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass


class Loop:
    """mem_loop under perdure run."""

    def __init__(self, uris, *options):
        self.folder = f"{WORK}/loop.{len(processes)}"
        os.mkdir(self.folder)
        self.report_path = f"{self.folder}/report.json"
        far = [word for uri in uris for word in ("--far", uri)]
        self.stderr = open(f"{self.folder}/stderr", "w+b")
        self.stdout = open(f"{self.folder}/stdout", "w+b")
        self.process = subprocess.Popen(
            [PERDURE, "run", "--local", LOCAL, *far, *options, "--report", self.report_path, "--",
             LOOP, SIZE_MIB, "1", self.folder],
            stdout=self.stdout, stderr=self.stderr, stdin=subprocess.DEVNULL)
        processes.append(self.process)
        loops.append(self)
        wait_until(30, "the program's pages going far",
                   lambda: self.alive() and self.status().get("pages_fetched", 0) > 500)

    def words(self):
        return open(f"{self.folder}/stderr").read()

    def alive(self):
        if self.process.poll() is not None:
            fail(f"the program ended with {self.process.returncode}: {self.words()}")
        return True

    def status(self):
        listed = subprocess.run([PERDURE, "status", "--json"], capture_output=True, timeout=20)
        for run in json.loads(listed.stdout or "[]"):
            if run["pid"] == self.process.pid:
                return run
        return {}

    def lost(self):
        return sum(backing["lost"] for backing in self.status().get("backings", []))

    def touch(self, name):
        open(f"{self.folder}/{name}", "w").close()

    def pause(self):
        self.touch("pause")
        wait_until(30, "the program's pause",
                   lambda: self.alive() and os.path.exists(f"{self.folder}/paused"))

    def go_on(self):
        os.unlink(f"{self.folder}/pause")
        wait_until(10, "the program going on",
                   lambda: self.alive() and not os.path.exists(f"{self.folder}/paused"))

    def copies_are_whole(self):
        """Only while it pauses: every page that is far has as many copies on the one as the other."""
        pages = [backing["pages"] for backing in self.status().get("backings", [])]
        return len(pages) == 2 and pages[0] == pages[1] > 0

    def finish(self):
        """The program verifies all its memory. Returns the report."""
        self.touch("stop")
        wait_until(60, "the program's end", lambda: self.process.poll() is not None)
        if self.process.returncode != 0:
            fail(f"the program ended with {self.process.returncode}: {self.words()}")
        report = json.load(open(self.report_path))
        if report["pages_lost"]:
            fail(f"{report['pages_lost']} pages lost")
        if report["local_bytes_max"] > report["local_bytes_limit"]:
            fail(f"{report['local_bytes_max']} bytes were local")
        return report


def kills(dice, count):
    """A mirror over two nodes; one is killed, restarted, and gets its copies again; and so on."""
    nodes = [Node("a"), Node("b")]
    transport = ("tcp", "shm", "cma")
    uris = [f"node://127.0.0.1:{node.port}?transport={dice.choice(transport)}" for node in nodes]
    loop = Loop(uris, "--mirror", "2", "--timeout", "2s")
    loop.pause()
    wait_until(30, "both copies", loop.copies_are_whole)
    loop.go_on()
    for number in range(count):
        lost = loop.lost()
        victim = dice.choice(nodes)
        time.sleep(dice.random() * 0.03)
        victim.kill()
        if dice.random() < 0.5:
            wait_until(20, f"kill {number}: the loss being noticed",
                       lambda: loop.alive() and loop.lost() > lost)
        victim.start()
        wait_until(20, f"kill {number}: the loss being noticed",
                   lambda: loop.alive() and loop.lost() > lost)
        loop.pause()
        wait_until(60, f"kill {number}: the copies being made again", loop.copies_are_whole)
        loop.go_on()
    report = loop.finish()
    if report["pages_recopied"] == 0:
        fail("no page was copied again")
    print(f"{count} kills, {report['pages_recopied']} pages copied again")


def dies_with_words(loop, uri, what):
    """Without another copy: SIGBUS, and one message with page, backing and cause."""
    wait_until(20, f"{what}: the program's end", lambda: loop.process.poll() is not None)
    if loop.process.returncode != -signal.SIGBUS:
        fail(f"{what}: the program ended with {loop.process.returncode}: {loop.words()}")
    lines = loop.words().splitlines()
    if len(lines) != 1:
        fail(f"{what}: not one line but {len(lines)}: {loop.words()}")
    if uri not in lines[0] or not re.search(r"0x[0-9a-f]+", lines[0]):
        fail(f"{what}: the message names not page and backing: {lines[0]}")
    if json.load(open(loop.report_path))["pages_lost"] == 0:
        fail(f"{what}: the report counts no lost page")


def lost(dice, count):
    """No mirror, and the node is killed or stopped for good."""
    for transport in ("tcp", "shm", "cma"):
        for way in (signal.SIGKILL, signal.SIGSTOP):
            # A stopped process's memory is there, and cma needs nothing else of it.
            if transport == "cma" and way == signal.SIGSTOP:
                continue
            node = Node("alone")
            uri = f"node://127.0.0.1:{node.port}?transport={transport}"
            loop = Loop([uri], "--timeout", "2s")
            time.sleep(dice.random() * 0.2)
            node.signal(way)
            dies_with_words(loop, uri, f"{transport}, {way.name}")
            node.signal(signal.SIGKILL)
            node.process.wait()


def stopped(dice, count):
    """A node that answers late. Short of the limit nothing happens; beyond it the mirror serves."""
    for transport in ("tcp", "shm", "cma"):
        nodes = [Node("a"), Node("b")]
        uris = [f"node://127.0.0.1:{node.port}?transport={transport}" for node in nodes]
        loop = Loop(uris[:1], "--timeout", "5s")
        for _ in range(3):
            nodes[0].signal(signal.SIGSTOP)
            time.sleep(0.3)
            nodes[0].signal(signal.SIGCONT)
            time.sleep(0.1)
            loop.alive()
        loop.finish()
        loop = Loop(uris, "--mirror", "2", "--timeout", "1s")
        for _ in range(2):
            loop.pause()
            wait_until(60, f"{transport}: the copies", loop.copies_are_whole)
            loop.go_on()
            lost_before = loop.lost()
            victim = dice.choice(nodes)
            victim.signal(signal.SIGSTOP)
            # A transport that needs no help of the node does not notice that it is stopped.
            end = time.monotonic() + 3
            while loop.alive() and loop.lost() == lost_before and time.monotonic() < end:
                time.sleep(0.05)
            victim.signal(signal.SIGCONT)
        loop.finish()
        for node in nodes:
            node.process.terminate()


def main():
    case, seed = sys.argv[1], int(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    print(f"{case}, seed {seed}")
    try:
        {"kills": kills, "lost": lost, "stopped": stopped}[case](random.Random(seed), count)
    finally:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


main()
