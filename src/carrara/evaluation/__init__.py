"""What a model is worth: metrics with intervals, slices, a baseline, charts, and the gates they must pass.

In: labels and scores of an exported model, and columns to slice by. Out: an `Evaluation` and gate results.
"""
