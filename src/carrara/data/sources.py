"""Sources: reads the file that a dataset names, typed as it declares."""

from __future__ import annotations

import gzip
import importlib.util
import io
import zipfile
from pathlib import Path

import polars as pl
from polars.exceptions import PolarsError

from carrara.core.columns import POLARS_TYPES, UTC_TIME, require_column, type_name, utc_times
from carrara.core.errors import ColumnTypeMismatch, DataError
from carrara.data.dataset import Dataset


def locate(dataset: Dataset, root: Path) -> Path:
    """The file that a dataset's source stands for; DataError when there is none."""
    scheme, _, rest = dataset.source.partition(":")
    path = _in_package(dataset, rest) if scheme == "package" else root / dataset.source
    if not path.is_file():
        raise DataError(
            f"the source of dataset '{dataset.name}' is not there: {path}",
            hint="Correct its source, or put the file there.",
        )
    return path


def read(dataset: Dataset, path: Path) -> pl.DataFrame:
    """The rows of a source, with the declared types; times become UTC microseconds."""
    try:
        frame = pl.read_parquet(path) if path.suffix == ".parquet" else _read_csv(dataset, path)
    except (PolarsError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path} (dataset '{dataset.name}') cannot be read: {error}") from error
    where = f"dataset '{dataset.name}'"
    for column, name in dataset.types.items():
        require_column(frame.schema, column, where)
        frame = frame.with_columns(_cast(frame[column], name, where))
    return frame.with_columns(
        pl.col(pl.Datetime("ms", "*"), pl.Datetime("us", "*"), pl.Datetime("ns", "*")).cast(UTC_TIME)
    )


def _in_package(dataset: Dataset, rest: str) -> Path:
    package, _, inner = rest.partition("/")
    # Finding a package does not import it: some ship data beside code that no longer runs.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"dataset '{dataset.name}' reads the Python package '{package}', which is not installed",
            hint=f"pip install {package}",
        )
    return Path(spec.submodule_search_locations[0]) / inner


def _read_csv(dataset: Dataset, path: Path) -> pl.DataFrame:
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(archive.namelist()[0])
    return pl.read_csv(data, null_values=list(dataset.null_values), infer_schema_length=None)


def _cast(values: pl.Series, name: str, where: str) -> pl.Series:
    if name == "datetime":
        return utc_times(values, where)
    try:
        return values.cast(POLARS_TYPES[name])
    except PolarsError as error:
        raise ColumnTypeMismatch(values.name, where, name, type_name(values.dtype), hint=str(error)) from error
