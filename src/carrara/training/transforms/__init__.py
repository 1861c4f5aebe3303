"""Transforms: what a model does to its features first, fitted on the train part and served inside the artifact.

Each is an analysis of the training rows and a few nodes of an ONNX graph. The same graph, run by the same runtime,
makes the trainer's matrix and answers requests, so that training and serving cannot differ.
"""
