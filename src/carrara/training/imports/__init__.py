"""Models that were trained elsewhere, as they are served here: a file per kind of artifact.

In: a model folder of MLflow. Out: an `ImportedModel`, its artifact in a runtime's format. No pickle is opened.
"""
