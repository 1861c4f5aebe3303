"""Where features are computed: here, or on Spark.

In: views, datasets and tables in the lake. Out: prepared tables, joined labels and online rows, the same by each.
"""
