"""What every room needs: errors, configuration, columns and times, digests, the clock, plug-ins.

In: nothing of Carrara. Out: small values and functions that the rooms above share.
"""
