#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: node_hostile.py attack PORT SECONDS | fake-node silent|rubbish|imposter

attack: sends a node on loopback what no client should, for so long; the node has no key file.
fake-node: waits for one client, and is no honest node to it.
"""
import hashlib
import hmac
import os
import random
import socket
import struct
import sys
import time

CHALLENGE, HELLO, WELCOME, EXTEND, EXTENDED, RING, LINES, STORED = range(1, 9)
SIZES = {CHALLENGE: 64, HELLO: 112, WELCOME: 760, EXTEND: 24, EXTENDED: 232, RING: 16, LINES: 24,
         STORED: 16}
MAGIC = 0x4E726450


def header(kind, magic=MAGIC, version=2, size=None):
    return struct.pack("<IHHII", magic, version, kind, SIZES.get(kind, 16) if size is None else size, 0)


def proof(label, node_nonce, client_nonce, message, secret=bytes(32)):
    prefix = label.ljust(16, b"\0") + node_nonce + client_nonce + secret
    return hmac.new(b"", prefix + message, hashlib.sha256).digest()


def receive(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise ConnectionError("closed")
        data += more
    return data


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    return connection


def boot_id():
    text = open("/proc/sys/kernel/random/boot_id").read().replace("-", "").strip()
    return bytes.fromhex(text)


def log_in(port, transports=1, ticket=(0, bytes(32))):
    """An honest handshake: the connection and the welcome."""
    connection = connect(port)
    challenge = receive(connection, 64)
    nonce = os.urandom(32)
    hello = header(HELLO) + nonce + boot_id() + struct.pack("<QII", ticket[0], transports, os.getpid())
    connection.sendall(hello + proof(b"perdure client 1", challenge[16:48], nonce, hello, ticket[1]))
    welcome = receive(connection, 760)
    assert struct.unpack_from("<I", welcome, 16)[0] == 0, "refused"
    expected = proof(b"perdure node   1", challenge[16:48], nonce, welcome[:728])
    assert hmac.compare_digest(expected, welcome[728:]), "the node's proof is wrong"
    return connection, welcome


def expect_drop(connection, what, seconds=4):
    """The node must end the connection; what it says before does not matter."""
    connection.settimeout(seconds)
    try:
        while connection.recv(4096):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        sys.exit(f"the node keeps a client that sent {what}")
    connection.close()


def send_and_expect_drop(port, data, what, logged_in):
    connection = log_in(port)[0] if logged_in else connect(port)
    try:
        connection.sendall(data)
    except ConnectionError:
        pass
    expect_drop(connection, what)


def strange_messages(rng):
    size = rng.randrange(1, 2000)
    yield rng.randbytes(size), "random bytes"
    yield header(rng.randrange(9, 60000)), "an unknown type"
    yield header(WELCOME) + bytes(744), "a node's message"
    yield header(HELLO, version=9) + bytes(96), "another version"
    yield header(HELLO, size=0xFFFFFFFF) + bytes(96), "an oversized message"
    yield header(HELLO, size=17) + bytes(1), "an undersized message"
    yield header(HELLO, magic=1) + bytes(96), "another magic"
    yield header(HELLO) + rng.randbytes(96), "a wrong proof"
    yield lines_message([(0, 1)]), "lines where none belong"


def lines_body(pages):
    return b"".join(struct.pack("<QQ", slot, mask) + bytes(64 * bin(mask).count("1"))
                    for slot, mask in pages)


def lines_message(pages, count=None, size=None, behind=b""):
    body = lines_body(pages) + behind
    return header(LINES) + struct.pack("<II", len(pages) if count is None else count,
                                       len(body) if size is None else size) + body


def strange_lines(rng):
    slots = (2 << 20) // 4096
    yield lines_message([(0, 1)], count=0), "lines of no page"
    yield lines_message([(0, 1)] * 33), "lines of 33 pages"
    yield lines_message([(0, 1)], count=2**32 - 1, size=2**32 - 1), "lines of 2^32 - 1 pages"
    yield lines_message([(0, 1)], count=2) + bytes(80), "more pages than the body has"
    yield lines_message([(0, 1), (1, 1)], count=1), "fewer pages than the body has"
    yield lines_message([(0, 1)], size=0), "lines without a body"
    yield lines_message([(0, 3)], size=80) + bytes(64), "a body that ends too early"
    yield lines_message([(0, 1)], behind=bytes(1)), "a body that ends too late"
    yield lines_message([(0, 1)]) * 2 + b"x", "rubbish behind lines"
    yield lines_message([(0, 1), (1, 0)]), "lines of an empty mask"
    for slot in (slots, 2**52 - 1, 2**52, 2**64 - 1):
        yield lines_message([(0, 1), (slot, 1)]), f"lines of slot {slot}"
    yield header(EXTEND) + bytes(8), "an extend among lines"
    yield header(LINES) + rng.randbytes(200), "random lines"


def attack_lines(port, rng):
    """A session of 2 MiB, and what its connections for lines should not send."""
    session, welcome = log_in(port)
    session.sendall(header(EXTEND) + struct.pack("<Q", 2 << 20))
    # A node out of room for this moment grants nothing; its lines are then all out of range.
    granted = struct.unpack_from("<I", receive(session, 232), 16)[0] == 0
    ticket = struct.unpack_from("<Q", welcome, 24)[0], welcome[40:72]
    for data, what in strange_lines(rng):
        connection = log_in(port, 0, ticket)[0]
        try:
            connection.sendall(data)
        except ConnectionError:
            pass
        expect_drop(connection, what)
    right = lines_message([(511, 2**64 - 1)] * 32)
    for cut in (1, 16, 24, 40, 100, len(right) - 1):
        connection = log_in(port, 0, ticket)[0]
        connection.sendall(right[:cut])
        connection.shutdown(socket.SHUT_WR)
        expect_drop(connection, f"{cut} bytes of lines")
    if granted:
        connection = log_in(port, 0, ticket)[0]
        for _ in range(3):
            connection.sendall(right[:5000])
            time.sleep(0.01)
            connection.sendall(right[5000:])
            assert receive(connection, 16) == header(STORED), "lines in two parts are not stored"
        connection.sendall(right * 4 + lines_message([(0, 1)]) * 3)
        assert receive(connection, 7 * 16) == header(STORED) * 7, "not all of many lines are stored"
        connection.close()
    session.close()


def attack_fabric(port, rng):
    """Rubbish and floods on the tcp port of one's own worker."""
    connection, welcome = log_in(port)
    size, _, _, _ = struct.unpack_from("<IIQQ", welcome, 16 + 8 + 16 + 32)
    if size:
        address = welcome[16 + 8 + 16 + 32 + 24:][:size]
        fabric_port = struct.unpack_from(">H", address, 2)[0]
        others = []
        for _ in range(20):
            try:
                other = connect(fabric_port)
                other.sendall(rng.randbytes(rng.randrange(1, 300)))
                others.append(other)
            except OSError:
                break
        for other in others:
            other.close()
    connection.close()


def attack(port, seconds):
    rng = random.Random(1)
    slow = [connect(port) for _ in range(100)]
    end = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < end:
        for data, what in strange_messages(rng):
            send_and_expect_drop(port, data, what, False)
            # Behind the handshake every message of it is out of place, repeated ones included.
            send_and_expect_drop(port, data, what, True)
        for cut in (1, 15, 16, 50, 111):
            connection = connect(port)
            receive(connection, 64)
            connection.sendall((header(HELLO) + bytes(96))[:cut])
            connection.shutdown(socket.SHUT_WR)
            expect_drop(connection, f"{cut} bytes of a hello")
        huge = header(EXTEND) + struct.pack("<Q", 2**64 - 1)
        connection = log_in(port)[0]
        connection.sendall(huge)
        assert struct.unpack_from("<I", receive(connection, 232), 16)[0] != 0, "2^64 - 1 bytes granted"
        connection.sendall(huge * 3)
        connection.close()
        connection = log_in(port)[0]
        connection.sendall((header(EXTEND) + struct.pack("<Q", 1 << 20)) * 200)
        connection.close()
        connection = log_in(port)[0]
        for _ in range(200):
            connection.sendall(header(RING) * 100)
        connection.close()
        attack_fabric(port, rng)
        attack_lines(port, rng)
        for connection in slow[:10]:
            try:
                connection.sendall(b"P")
            except OSError:
                pass
        rounds += 1
    for connection in slow:
        expect_drop(connection, "a hello slower than two seconds")
    print(f"{rounds} rounds")


def fake_node(kind):
    server = socket.create_server(("127.0.0.1", 0))
    print(f"listening on {server.getsockname()[1]}", flush=True)
    server.settimeout(20)
    connection, _ = server.accept()
    connection.settimeout(5)
    if kind == "rubbish":
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)
    elif kind == "imposter":
        connection.sendall(header(CHALLENGE) + os.urandom(32) + boot_id())
        receive(connection, 112)
        connection.sendall(header(WELCOME) + bytes(744))
    try:
        connection.recv(1)
    except OSError:
        pass


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "attack":
        attack(int(sys.argv[2]), float(sys.argv[3]))
    elif len(sys.argv) == 3 and sys.argv[1] == "fake-node":
        fake_node(sys.argv[2])
    else:
        sys.exit(__doc__)
