#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: serve_hostile.py SOCKET REGION USER

What USER, who owns REGION, and nothing else, can say to the agent: ends with 0 when each nonsense
was answered with an error or an end, and nothing waited. What the agent is like then is the
caller's to look at.
"""
import array
import ctypes
import fcntl
import os
import pwd
import socket
import struct
import sys

STATUS, CREATE, DESTROY, OPEN, PULSE, JOIN, SAVE = range(7)
LIMIT_S = 10
SYS_USERFAULTFD = {"x86_64": 323, "aarch64": 282}[os.uname().machine]
UFFD_USER_MODE_ONLY = 1
UFFDIO_API = 0xc018aa3f
UFFD_FEATURES = 1 | 1 << 5 | 1 << 12  # write protection and missing pages of shared memory
PAGE = 4096

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]


def connect():
    one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one.connect(sys.argv[1])
    one.settimeout(LIMIT_S)
    return one


def request(verb, name="", size=0, start=0, first=0, flags=0, version=1):
    return struct.pack("=IIQQQIi64s", version, verb, size, start, first, flags, -1, name.encode())


def send(one, message, fds=()):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    one.sendmsg([message], rights)


def receive(one):
    """The result and the descriptor that came along, or None when the agent closed."""
    message, rights, _, _ = one.recvmsg(1024, socket.CMSG_SPACE(4))
    if not message:
        return None, None
    fd = array.array("i", rights[0][2])[0] if rights else None
    return struct.unpack_from("=Ii", message)[1], fd


def ask(message, fds=()):
    with connect() as one:
        send(one, message, fds)
        return receive(one)


def refused(what, message, fds=()):
    result, _ = ask(message, fds)
    if result == 0:
        sys.exit(f"{what}: done")


def userfaultfd(flags):
    fd = libc.syscall(SYS_USERFAULTFD, UFFD_USER_MODE_ONLY | os.O_CLOEXEC | flags)
    if fd < 0:
        sys.exit("no userfaultfd for users")
    fcntl.ioctl(fd, UFFDIO_API, bytearray(struct.pack("=QQQ", 0xaa, UFFD_FEATURES, 0)))
    return fd


def say_nonsense(name):
    refused("another verb", request(77))
    refused("another version", request(STATUS, version=9))
    refused("a half message", request(STATUS)[:50])
    refused("a long message", request(STATUS) + b"x" * 400)
    refused("what is root's", request(SAVE))
    refused("what is root's", request(CREATE, "mine", 1 << 20))
    refused("what is root's", request(DESTROY, name))
    refused("another's region", request(OPEN, "roots"))
    refused("no region", request(OPEN, "none"))
    refused("a name without end", request(OPEN, "a" * 64))


def join_nonsense(name, size):
    ends = os.pipe()
    plain = userfaultfd(os.O_NONBLOCK)
    refused("no descriptor", request(JOIN, name, size))
    refused("a pipe", request(JOIN, name, size), [ends[0]])
    refused("many pipes", request(JOIN, name, size), [ends[0]] * 200)
    refused("nothing is there", request(JOIN, name, size, 1 << 30), [plain])
    refused("no page", request(JOIN, name, size, 77), [plain])
    refused("too much", request(JOIN, name, size * 2, 1 << 30), [plain])
    refused("around the end", request(JOIN, name, PAGE, 1 << 30, (1 << 64) - 1), [plain])
    refused("too high", request(JOIN, name, size, (1 << 64) - PAGE), [plain])
    refused("another's region", request(JOIN, "roots", size, 1 << 30), [plain])
    for fd in [*ends, plain]:
        os.close(fd)


def misuse_file(name, size):
    """Joined, with a descriptor that waits; then the file is made shorter."""
    _, fd = ask(request(OPEN, name))
    memory = libc.mmap(None, size, 3, 1, fd, 0)
    uffd = userfaultfd(0)
    result, _ = ask(request(JOIN, name, size, memory), [uffd])
    fcntl.fcntl(uffd, fcntl.F_SETFL, 0)
    ctypes.memset(memory, 7, 64 * PAGE)
    fcntl.fcntl(uffd, fcntl.F_SETFL, 0)
    os.ftruncate(fd, PAGE)
    # Memory that is no region's, tracked as if it were.
    other = libc.mmap(None, size, 3, 0x21, -1, 0)
    ask(request(JOIN, name, size, other), [userfaultfd(os.O_NONBLOCK)])
    ctypes.memset(other, 8, 64 * PAGE)
    return [fd, uffd], result


def hog():
    """As many connections as there are, some of which say a lot and read nothing."""
    held = []
    for i in range(300):
        one = connect()
        one.setblocking(False)
        held.append(one)
        try:
            for _ in range(1000 if i < 8 else 1):
                one.send(request(STATUS))
        except OSError:
            pass
    return held


def become(user):
    os.setgroups([])
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)


def main():
    name = sys.argv[2]
    become(pwd.getpwnam(sys.argv[3]))
    size = 8 << 20
    say_nonsense(name)
    join_nonsense(name, size)
    kept, result = misuse_file(name, size)
    kept += hog()
    print("ready", result, flush=True)
    sys.stdin.read()


main()
