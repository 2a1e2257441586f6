# SPDX-License-Identifier: Apache-2.0
"""An agent (`perdure serve`) for the bench, and a UPS that is made up, with folders of their own.

Everything is undone by close(), also after a failure or Ctrl-C: processes, memory, images.
"""

import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

import swap
from paging import Failed
from swap import Skip

MEMORY = "/dev/shm"
CALL_SECONDS_MAX = 120
START_SECONDS_MAX = 20
# format/agent.h: version, verb, bytes, start, first page, flags, owner, name; the answer's head.
REQUEST = struct.Struct("=IIQQQIi64s")
ANSWER = struct.Struct("=IiIIQ320s")
VERSION, STATUS, SAVE = 1, 0, 6
DRIVER, SERVER = "/lib/nut/dummy-ups", "/lib/nut/upsd"
UPS_SECONDS_MAX = 20
WRITE_LIMIT = pathlib.Path("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device")
GROUP = WRITE_LIMIT.parent / "perdure-bench"


def wait_until(what, seconds, condition):
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.02)


def end(process):
    """At once; it may be stopped."""
    if process.poll() is None:
        process.kill()
    process.wait()


class Connection:
    """What the agent answers to one request after another."""

    def __init__(self, folder):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(CALL_SECONDS_MAX)
        self.socket.connect(str(folder / "agent.sock"))

    def call(self, verb):
        self.socket.send(REQUEST.pack(VERSION, verb, 0, 0, 0, 0, -1, b""))
        answer, passed, _, _ = socket.recv_fds(self.socket, ANSWER.size, 1)
        with contextlib.ExitStack() as stack:
            for descriptor in passed:
                stack.callback(os.close, descriptor)
            if len(answer) != ANSWER.size:
                raise Failed("perdure serve: does not answer")
            _, result, _, _, length, words = ANSWER.unpack(answer)
            if result:
                raise Failed(f"perdure serve: {words.split(bytes(1))[0].decode()}")
            return json.loads(os.pread(passed[0], length, 0))

    def close(self):
        self.socket.close()


class Agent:
    def __init__(self, perdure, work):
        if os.geteuid() != 0:
            raise Skip("perdure serve needs root")
        if swap.filesystem_of(MEMORY) != "tmpfs":
            raise Skip(f"{MEMORY} is no tmpfs")
        if swap.filesystem_of(work) not in swap.DISK_FILESYSTEMS:
            raise Skip(f"{work} is on {swap.filesystem_of(work)}, which is no disk's")
        self.perdure = perdure
        self.undo = contextlib.ExitStack()
        self.memory = self._folder(MEMORY)
        self.images = self._folder(work)
        self.regions = self.memory / "regions"
        self.regions.mkdir()
        self.log = self.memory / "log"
        self.process = None
        self.undo.callback(self.kill)

    def _folder(self, place):
        made = pathlib.Path(tempfile.mkdtemp(prefix="persist-", dir=place))
        self.undo.callback(shutil.rmtree, made, ignore_errors=True)
        return made

    def __enter__(self):
        return self

    def __exit__(self, *what):
        self.undo.close()

    # ---- Its life ----

    def start(self, *options, prefix=()):
        """Returns when it was executed, by CLOCK_MONOTONIC; serves() waits for it."""
        command = [*prefix, self.perdure, "serve", "--folder", str(self.regions), "--images",
                   str(self.images), *options]
        begin_ns = time.monotonic_ns()
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stderr=log)
        return begin_ns

    def _answers(self):
        if self.process.poll() is not None:
            raise Failed(f"perdure serve: {self.last_words()}")
        try:
            connection = Connection(self.regions)
        except OSError:
            return False
        connection.close()
        return True

    def serves(self):
        wait_until("perdure serve", START_SECONDS_MAX, self._answers)
        return self

    def last_words(self):
        lines = self.log.read_text().strip().splitlines()
        return lines[-1] if lines else "no message"

    def kill(self):
        if self.process:
            end(self.process)

    def lose_memory(self):
        """What lost power does: neither the agent is left nor what was in memory."""
        self.kill()
        shutil.rmtree(self.regions)
        self.regions.mkdir()

    @contextlib.contextmanager
    def stopped(self):
        """It does nothing meanwhile: neither flushes nor takes processor time."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    # ---- What it is asked ----

    def create(self, name, mib):
        done = subprocess.run([self.perdure, "region", "--folder", str(self.regions), "--persist",
                               "create", name, f"{mib}M"], capture_output=True, text=True,
                              timeout=CALL_SECONDS_MAX)
        if done.returncode:
            raise Failed(f"perdure region create: {done.stderr.strip()}")

    def call(self, verb):
        connection = Connection(self.regions)
        try:
            return connection.call(verb)
        finally:
            connection.close()

    def status(self):
        return self.call(STATUS)

    def save(self):
        """Like `perdure save --json`, without the time that a process takes to begin."""
        saved = self.call(SAVE)
        if saved["result"]:
            raise Failed(f"the save: {saved['why']}")
        return saved

    def settle(self):
        """Until everything is flushed."""
        wait_until("flushing all", CALL_SECONDS_MAX,
                   lambda: self.status()["unflushed_bytes"] == 0)

    def environment(self):
        return dict(os.environ, PERDURE_FOLDER=str(self.regions))


def _free_port():
    """Below those that the kernel gives to connections: one of them would keep it."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Ups:
    """NUT's server with a driver of a UPS that is made up: on mains, and full."""

    def __init__(self, folder):
        if not (os.path.exists(DRIVER) and os.path.exists(SERVER)):
            raise Skip("nut-server is not installed")
        self.folder = folder / "ups"
        self.folder.mkdir()
        self.port = _free_port()
        self.name = f"dummy@127.0.0.1:{self.port}"
        self.undo = contextlib.ExitStack()

    def _write(self, name, words):
        path = self.folder / name
        path.write_text(words)
        path.chmod(0o640)

    def _run(self, *command):
        place = str(self.folder)
        environment = dict(os.environ, NUT_CONFPATH=place, NUT_STATEPATH=place,
                           NUT_ALTPIDPATH=place)
        with open(self.folder / "log", "ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.undo.callback(end, process)

    def __enter__(self):
        self._write("ups.conf", "maxretry = 1\npollinterval = 1\n[dummy]\n\tdriver = dummy-ups\n"
                    "\tport = dummy.dev\n\tmode = dummy-once\n")
        self._write("upsd.conf", f"LISTEN 127.0.0.1 {self.port}\nMAXAGE 10\n")
        self._write("upsd.users", "")
        self._write("dummy.dev",
                    "ups.status: OL\nbattery.charge: 100\nbattery.runtime: 1200\n")
        self._run(DRIVER, "-a", "dummy", "-u", "root", "-F")
        self._run(SERVER, "-u", "root", "-F")
        return self

    def __exit__(self, *what):
        self.undo.close()


class WriteLimit:
    """A group of processes whose writes to the folder's disk can be slowed, and go on again."""

    def __init__(self, folder):
        if not WRITE_LIMIT.exists():
            raise Skip(f"{WRITE_LIMIT} is missing: writes cannot be slowed")
        self.disk = self._disk_of(folder)

    @staticmethod
    def _disk_of(folder):
        device = os.stat(folder).st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        place = pathlib.Path("/sys/dev/block") / number
        if not place.exists():
            raise Skip(f"{folder} is on no block device")
        if (place / "partition").exists():
            number = (place.resolve().parent / "dev").read_text().strip()
        return number

    def __enter__(self):
        try:
            GROUP.mkdir(exist_ok=True)
        except OSError as error:
            raise Skip(f"{GROUP} cannot be made: {error.strerror}") from error
        return self

    def prefix(self):
        """What stands before a command that is to be in the group."""
        return ["sh", "-c", f'echo $$ > {GROUP}/cgroup.procs && exec "$@"', "sh"]

    def limit(self, bytes_a_second):
        """0: none."""
        (GROUP / WRITE_LIMIT.name).write_text(f"{self.disk} {bytes_a_second}\n")

    def __exit__(self, *what):
        """The processes have ended."""
        self.limit(0)
        swap.retry(GROUP.rmdir)
