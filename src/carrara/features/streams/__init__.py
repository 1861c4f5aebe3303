"""Streams: messages of a topic, or files of a folder, into a feature view, offline and online within seconds.

In: a view that declares a stream (`kafka.py`, `folder.py`). Out, by `run.py`: rows in its push log, committed together
with how far they were read; what is no row in the dead letters.
"""
