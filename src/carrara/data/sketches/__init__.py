"""Sketches: small summaries of columns that are pure functions of the values, in whatever parts they come.

In: NumPy arrays and Polars series, batch by batch. Out: quantiles, distinct counts, frequent values. Each merges:
the sketch of a whole is the merged sketch of its parts.
"""
