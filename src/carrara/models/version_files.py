"""The names of a version's files, in the artifact store and in a bundle."""

from __future__ import annotations

RECORD = "record.json"
DEFINITIONS = "definitions/"
SERVABLE = "servable/"
LEARNED = "learned/"
WARM_UP = "warm_up/requests"
"""Requests by features that a server runs before it serves the version, as TensorFlow Serving's."""
