"""Datasets: versioned tables from sources or from other datasets, with statistics, a schema and splits.

In: files, queries, dataframes, and a user's functions from datasets to a dataset. Out: immutable versions in the
lake, validated.
"""

from carrara.data.ahead import Ahead
from carrara.data.anomalies import Anomaly
from carrara.data.dataset import Dataset, DerivedDataset, dataset
from carrara.data.ingest import Ingested, ingest, ingest_all, ingest_dataset
from carrara.data.schema import Schema
from carrara.data.schema_inference import infer_schema
from carrara.data.sources.duckdb import DuckDB
from carrara.data.sources.files import Files
from carrara.data.sources.sql import Sql
from carrara.data.splits import HashSplit, NoSplit, RollingSplit, StratifiedSplit, TimeSplit
from carrara.data.statistics import Statistics, profile
from carrara.data.validation import examine, validate
from carrara.data.versions import DatasetVersion, dataset_version, list_datasets, read_dataset

__all__ = [
    "Ahead",
    "Anomaly",
    "Dataset",
    "DatasetVersion",
    "DerivedDataset",
    "DuckDB",
    "Files",
    "HashSplit",
    "Ingested",
    "NoSplit",
    "Schema",
    "Sql",
    "Statistics",
    "RollingSplit",
    "StratifiedSplit",
    "TimeSplit",
    "dataset",
    "dataset_version",
    "examine",
    "infer_schema",
    "ingest",
    "ingest_all",
    "ingest_dataset",
    "list_datasets",
    "profile",
    "read_dataset",
    "validate",
]
