"""Trainers: one file per algorithm, each a frozen dataclass of its hyper-parameters that fits and exports."""
