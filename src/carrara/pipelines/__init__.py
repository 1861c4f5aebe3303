"""Pipelines: the order of the work, with each step done once and kept, whatever happens in between.

In: definitions and stores. Out: registered model versions, deployments, applied definitions, and their lineage.
"""
