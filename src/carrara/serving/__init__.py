"""Serving: loaded model versions behind gRPC and REST, swapped without a lost request.

In: requests by features or by entity keys. Out: predictions, each from exactly one version, and logged.
"""
