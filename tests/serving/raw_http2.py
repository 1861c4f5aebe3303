"""HTTP/2 by hand: frames and headers without compression, right or wrong as a test wants them."""

from __future__ import annotations

import socket
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 7, 8
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers(**more: str) -> bytes:
    """The block of a gRPC call's headers; `path` and others replace or add, with _ for -."""
    path = more.pop("path", "/tensorflow.serving.PredictionService/Predict")
    found = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x"}
    found |= {"content-type": "application/grpc", "te": "trailers"}
    found |= {name.replace("_", "-"): value for name, value in more.items()}
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in found.items())


def _text(text: str) -> bytes:
    """A string of HPACK: its length with a prefix of seven bits, and its bytes as they are."""
    size = len(text)
    if size < 127:
        return bytes([size]) + text.encode()
    made, size = b"\x7f", size - 127
    while size >= 128:
        made, size = made + bytes([size % 128 + 128]), size // 128
    return made + bytes([size]) + text.encode()


def message(data: bytes, *, flag: int = 0, length: int | None = None) -> bytes:
    """A message as gRPC frames it; `length` may lie."""
    return bytes([flag]) + struct.pack(">I", len(data) if length is None else length) + data


def call(data: bytes, stream: int = 1, **more: str) -> bytes:
    """A whole call on a stream."""
    return frame(HEADERS, END_HEADERS, stream, headers(**more)) + frame(DATA, END_STREAM, stream, message(data))


def connected(port: int, settings: bytes = b"") -> socket.socket:
    raw = socket.create_connection(("127.0.0.1", port), timeout=20)
    raw.sendall(PREFACE + frame(SETTINGS, 0, 0, settings))
    return raw
