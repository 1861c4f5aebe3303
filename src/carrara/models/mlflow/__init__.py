"""MLflow's models: written as it opens them, and read from its folders and tracking stores, all without MLflow.

In: a version, or what MLflow has stored. Out: a folder, or a model with the run that logged it. No pickle is opened.
"""
