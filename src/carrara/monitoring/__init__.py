"""Monitoring: what was predicted, what then happened, and how far the data have moved.

In: predictions on their way out, and outcomes when they become known. Out: live metrics, and drift by week.
"""
