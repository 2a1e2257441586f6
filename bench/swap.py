# SPDX-License-Identifier: Apache-2.0
"""Kernel swap as a control: a memory cgroup with a limit, a swap device, and their undoing.

Everything is a context manager and is undone in reverse on the way out, also after a failure or
Ctrl-C (bench/run turns SIGTERM into an exception). Swap never lies on tmpfs, nor on a loop device
over it: reclaim would write the tmpfs file into the very swap that holds it, and the kernel stops.
"""

import contextlib
import os
import pathlib
import subprocess
import tempfile
import time

SWAP_BYTES = 2 << 30  # the 1 GiB region, whole, and room
CGROUP = "perdure-bench"
MEMORY_V1 = pathlib.Path("/sys/fs/cgroup/memory")
V2_ROOTS = (pathlib.Path("/sys/fs/cgroup"), pathlib.Path("/sys/fs/cgroup/unified"))
PAGE_CLUSTER = pathlib.Path("/proc/sys/vm/page-cluster")
# File systems that can hold a swap file and keep it on a disk.
DISK_FILESYSTEMS = ("ext4", "ext3", "xfs")
TRIES = 50  # rmdir and swapoff may find the ended program's pages still going: 5 s in all
TRY_SECONDS = 0.1


class Skip(Exception):
    """A row that this machine does not permit, with the reason in words."""


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise Skip(f"{command[0]}: {words[-1] if words else 'failed'}")


def retry(action):
    """Until it works: undoing waits for the kernel, and a failure is a warning, not an end."""
    for attempt in range(TRIES):
        try:
            return action()
        except (OSError, Skip) as error:
            last = error
            time.sleep(TRY_SECONDS)
    print(f"bench: could not be undone: {last}", flush=True)


def filesystem_of(path):
    best, kind = "", ""
    path = str(pathlib.Path(path).resolve())
    for line in open("/proc/mounts"):
        _, point, this_kind = line.split()[:3]
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, this_kind
    return kind


@contextlib.contextmanager
def page_cluster(value):
    try:
        before = PAGE_CLUSTER.read_text()
        PAGE_CLUSTER.write_text(str(value))
    except OSError as error:
        raise Skip(f"page-cluster cannot be set: {error.strerror}") from error
    try:
        yield
    finally:
        PAGE_CLUSTER.write_text(before)


@contextlib.contextmanager
def _swap_on(path):
    _run("mkswap", str(path))
    _run("swapon", "--priority", "100", str(path))
    try:
        yield
    finally:
        retry(lambda: _run("swapoff", str(path)))


def _zram_index():
    """A device of our own where the kernel adds one, else zram0 when nobody uses it."""
    control = pathlib.Path("/sys/class/zram-control/hot_add")
    if control.exists():
        return int(control.read_text()), True
    size = pathlib.Path("/sys/block/zram0/disksize")
    if size.exists() and size.read_text().strip() == "0":
        return 0, False
    raise Skip("no free zram device")


@contextlib.contextmanager
def zram():
    try:
        index, added = _zram_index()
    except OSError as error:
        raise Skip(f"zram cannot be added: {error.strerror}") from error
    block = pathlib.Path(f"/sys/block/zram{index}")
    try:
        try:
            (block / "comp_algorithm").write_text("lz4")
            (block / "disksize").write_text(str(SWAP_BYTES))
        except OSError as error:
            raise Skip(f"zram{index} cannot be set up: {error.strerror}") from error
        with _swap_on(f"/dev/zram{index}"):
            yield block
    finally:
        retry(lambda: (block / "reset").write_text("1"))
        if added:
            remove = pathlib.Path("/sys/class/zram-control/hot_remove")
            retry(lambda: remove.write_text(str(index)))


def zram_fill(block):
    """Bytes stored now, and those bytes over the bytes that they take, as the device counts."""
    original, compressed = (block / "mm_stat").read_text().split()[:2]
    return int(original), int(original) / max(int(compressed), 1)


@contextlib.contextmanager
def swap_file(directory):
    kind = filesystem_of(directory)
    if kind not in DISK_FILESYSTEMS:
        raise Skip(f"{directory} is on {kind}, which cannot hold the swap file")
    with tempfile.TemporaryDirectory(prefix="swap-", dir=directory) as place:
        path = pathlib.Path(place) / "swap"
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SWAP_BYTES)
        except OSError as error:
            raise Skip(f"{path}: {error.strerror}") from error
        finally:
            os.close(descriptor)
        with _swap_on(path):
            yield


def _v2_root():
    for root in V2_ROOTS:
        controllers = root / "cgroup.controllers"
        if controllers.exists() and "memory" in controllers.read_text().split():
            return root
    return None


@contextlib.contextmanager
def memory_limit(limit_bytes):
    """Yields the command prefix that runs a program under the limit."""
    if (MEMORY_V1 / "memory.limit_in_bytes").exists():
        root, knob = MEMORY_V1, "memory.limit_in_bytes"
    elif _v2_root():
        root, knob = _v2_root(), "memory.max"
    else:
        raise Skip("no memory cgroup is mounted")
    group = root / CGROUP
    try:
        if knob == "memory.max":
            (root / "cgroup.subtree_control").write_text("+memory")
        group.mkdir(exist_ok=True)
    except OSError as error:
        raise Skip(f"{group} cannot be made: {error.strerror}") from error
    try:
        try:
            (group / knob).write_text(str(limit_bytes))
        except OSError as error:
            raise Skip(f"{group / knob}: {error.strerror}") from error
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        retry(group.rmdir)
