"""Several processes that train one model: what they are called, how they are started, and what ends them all.

In: a command and how many tasks of each job. Out: their logs, and one exit status.
"""
