"""Transports: bytes in and out of sockets, one file per library; what they mean is the protocols' to say."""
