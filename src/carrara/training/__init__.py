"""Training: what a model is declared to be, and the trainers that fit and export it.

In: a training set. Out: a servable artifact and what was learned.
"""
