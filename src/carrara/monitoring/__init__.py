"""Monitoring: what was predicted, what then happened, how far the data have moved, and who is told.

In: predictions on their way out, and outcomes when they become known. Out: windows, live metrics, drift, alerts.
"""
