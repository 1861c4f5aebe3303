"""Datasets: versioned tables from sources or from other datasets, with statistics, a schema and splits.

In: files, queries, dataframes, and a user's functions from datasets to a dataset. Out: immutable versions in the
lake, validated.
"""
