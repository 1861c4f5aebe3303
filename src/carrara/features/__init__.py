"""The feature store: one definition of a feature, the same value in a training set and at a prediction.

In: datasets and a user's definitions. Out: prepared feature tables in the lake, exact point-in-time training
sets, rows in the online store, and features by entity key.
"""
