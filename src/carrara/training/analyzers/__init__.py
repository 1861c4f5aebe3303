"""Analyzers: what transforms have to know of all training rows, as states of parts that merge exactly.

In: batches of columns, span by span. Out: the state of each column over the whole train part; of spans that have not
changed it is taken from where it was kept.
"""
