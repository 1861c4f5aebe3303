"""Sources: where a dataset's rows come from, each read in batches of bounded memory.

In: an address, a query, or a dataframe. Out: batches of typed columns, and a fingerprint that tells whether
anything changed. `base.py` says how to add one.
"""
