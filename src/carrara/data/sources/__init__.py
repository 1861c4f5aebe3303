"""Sources: where a dataset's rows come from, each read in batches of bounded memory.

In: an address, a query, or a dataframe. Out: batches of typed columns, and a fingerprint that tells whether
anything changed. `base.py` says how to add one.
"""

from carrara.data.sources.base import Opened, Source
from carrara.data.sources.duckdb import DuckDB
from carrara.data.sources.files import Files
from carrara.data.sources.frames import Frame
from carrara.data.sources.sql import Sql

__all__ = ["DuckDB", "Files", "Frame", "Opened", "Source", "Sql"]
