"""Where bytes live: the lake (Delta tables), artifacts (files by digest), the online store (rows by key).

In: tables, files and packed rows. Out: the same, verified. `Stores` holds all of them, opened once.
"""
