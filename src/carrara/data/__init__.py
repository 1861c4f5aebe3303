"""Datasets: versioned tables from sources or from other datasets, with statistics and a schema.

In: files, and a user's functions from datasets to a dataset. Out: immutable versions in the lake, validated.
"""

from carrara.data.dataset import Dataset, DerivedDataset, dataset
from carrara.data.ingest import Ingested, ingest, ingest_all
from carrara.data.schema import Anomaly, validate
from carrara.data.versions import DatasetVersion, dataset_version, list_datasets, read_dataset

__all__ = [
    "Anomaly",
    "Dataset",
    "DatasetVersion",
    "DerivedDataset",
    "Ingested",
    "dataset",
    "dataset_version",
    "ingest",
    "ingest_all",
    "list_datasets",
    "read_dataset",
    "validate",
]
