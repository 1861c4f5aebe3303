"""The flights demo: a workspace template, and the run that lives through it.

In: a folder. Out: a workspace with a model that was trained, deployed, asked and watched.
"""
