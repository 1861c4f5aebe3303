"""Online stores: packed rows by entity key, one file per store.

In: a table's rows with the watermark that they stand for. Out: rows by key, in one read.
"""
