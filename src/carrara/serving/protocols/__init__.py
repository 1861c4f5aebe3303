"""Protocols: what bytes on a wire mean, as requests and answers; one file per protocol."""
