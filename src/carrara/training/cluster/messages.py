"""What a process of a fit tells the one that started it."""

from __future__ import annotations

MARK = "\x1e"
"""Begins a message among the lines that a process says, as in JSON text sequences (RFC 7464)."""

ALIVE_SECONDS = 1.0
"""How often a process says that it is alive."""

PEER_LOST = 75
"""The exit status of a process that another one, elsewhere, has left alone; EX_TEMPFAIL."""
