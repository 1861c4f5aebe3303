"""The record of everything: definitions, runs, steps, artifacts' versions, lineage, aliases, deployments.

In: typed records of what a step did. Out: the same, by name, version, key or lineage. SQLAlchemy tables,
SQLite in WAL mode by default; nothing here knows what the records mean to the rooms above.
"""
