"""What a version has learned, read back without the framework that wrote it.

In: the learned files of a version. Out: a `Forest` of plain arrays.
"""
