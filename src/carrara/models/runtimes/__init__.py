"""Runtimes: one file per format that opens a model artifact as a servable.

In: a folder of verified artifact files. Out: a `Servable` that runs named tensors.
"""
