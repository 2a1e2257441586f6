# SPDX-License-Identifier: Apache-2.0
"""usage: image_change.py newer|stranger|damaged IMAGE, from serve_bad_input.sh

Makes the head of an image that of a newer version or of another host, checksum and all, or breaks it.
"""
import sys

BLOCK = 4096


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def main():
    what, path = sys.argv[1:]
    with open(path, "r+b") as file:
        head = bytearray(file.read(BLOCK))
        if what == "newer":
            head[8:12] = (2).to_bytes(4, "little")
        elif what == "stranger":
            head[32:48] = b"another machine!"
        head[12:16] = bytes(4)
        head[12:16] = crc32c(head).to_bytes(4, "little")
        if what == "damaged":
            head[100] ^= 1
        file.seek(0)
        file.write(head)


main()
