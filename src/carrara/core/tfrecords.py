"""TFRecord files: records one after the other, each with its length and checksums, as TensorFlow writes them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache

from carrara.core.errors import DataError

_HEADER = struct.Struct("<QI")
_CHECKSUM_BYTES = 4


def read_records(data: bytes) -> Iterator[bytes]:
    """The records of a TFRecord file: each a length, its checksum, so many bytes, and theirs; DataError else."""
    start = 0
    while start < len(data):
        if start + _HEADER.size > len(data):
            raise DataError(f"the records end within a length, at byte {start}")
        length, checksum = _HEADER.unpack_from(data, start)
        if checksum != _masked(data[start : start + 8]):
            raise DataError(f"the records have no valid length at byte {start}")
        end = start + _HEADER.size + length
        if end + _CHECKSUM_BYTES > len(data):
            raise DataError(f"the records end within a record, at byte {start}")
        yield data[start + _HEADER.size : end]
        start = end + _CHECKSUM_BYTES


def write_record(data: bytes) -> bytes:
    """A record of a TFRecord file.

    >>> list(read_records(write_record(b"one") + write_record(b"two")))
    [b'one', b'two']
    """
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(length)) + data + struct.pack("<I", _masked(data))


def _masked(data: bytes) -> int:
    """TFRecord's checksum: CRC-32C, turned and moved."""
    checksum, table = 0xFFFFFFFF, _table()
    for byte in data:
        checksum = (checksum >> 8) ^ table[(checksum ^ byte) & 0xFF]
    checksum ^= 0xFFFFFFFF
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table
