"""Files: CSV, Parquet, JSON lines, Arrow and Delta; on this machine, in a Python package, or at an fsspec address."""

from __future__ import annotations

import glob
import gzip
import importlib.util
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from carrara.core.digests import digest_data, digest_file
from carrara.core.errors import DataError, MalformedFile
from carrara.core.plugins import require
from carrara.data.sources.base import Opened, Reading
from carrara.data.sources.csv import CsvLook, explained, first_past_64_bits, look_over, scan
from carrara.data.statistics import batches_of

FORMATS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
}
_COMPRESSED = (".gz", ".zip")


@dataclass(frozen=True)
class Files:
    """One file, or all that a pattern such as `orders/*.parquet` names, in the order of their names.

    `address` is a path below the workspace, `package:NAME/PATH` for a file inside an installed Python package, or
    an fsspec address such as `s3://bucket/orders.parquet`. A folder with a `_delta_log` is a Delta table.
    """

    address: str
    only: tuple[str, ...] = ()
    """Which of a pattern's files are read, by their names; empty means all."""

    def describe(self) -> dict[str, Any]:
        return {"kind": "file", "file": self.address}

    def added(self, root: Path, taken: Mapping[str, str]) -> tuple[Files, dict[str, str]]:
        """The part of a local pattern that was not `taken` yet, and the digests of its files by name.

        Raises DataError for a file that was taken and has changed since: its rows would be there twice.
        """
        found = {path.name: digest_file(path) for path in self._paths(root)}
        for name, digest in found.items():
            if taken.get(name, digest) != digest:
                raise DataError(
                    f"{name} was appended before, and has changed since",
                    hint='Rows that change need mode="upsert" with a key, or mode="replace".',
                )
        new = {name: digest for name, digest in found.items() if name not in taken}
        return replace(self, only=tuple(new)), new

    @property
    def is_local_pattern(self) -> bool:
        return "*" in self.address and not self._remote

    def fingerprint(self, root: Path) -> str | None:
        if self._remote:
            return digest_data([str(entry) for entry in _remote_entries(self.address)])
        if self._is_delta(root):
            return digest_data(["delta", _delta(root / self.address).version(), self.address])
        return digest_of_files([digest_file(path) for path in self._paths(root)])

    @contextmanager
    def open(self, root: Path, reading: Reading) -> Iterator[Opened]:
        if not self._remote and self._is_delta(root):
            frame = pl.scan_delta(str(root / self.address))
            yield Opened(frame.collect_schema(), batches_of(frame), _height(frame), self.address)
            return
        with ExitStack() as stack:
            paths = _fetched(self.address, stack) if self._remote else self._paths(root)
            read = [_open_one(path, reading, stack) for path in paths]
            yield read[0] if len(read) == 1 else _together(read, self.address)
            if not self._remote:
                for path, opened in zip(paths, read, strict=True):
                    opened.unchanged(path)

    @property
    def _remote(self) -> bool:
        return "://" in self.address

    def _is_delta(self, root: Path) -> bool:
        return (root / self.address / "_delta_log").is_dir()

    def _paths(self, root: Path) -> list[Path]:
        scheme, _, rest = self.address.partition(":")
        path = _in_package(rest) if scheme == "package" else root / self.address
        if path.is_file():
            return [path]
        found = sorted(p for p in path.parent.glob(path.name) if p.is_file()) if "*" in path.name else []
        found = [p for p in found if not self.only or p.name in self.only]
        if not found:
            raise DataError(f"the source is not there: {path}", hint="Correct its address, or put the file there.")
        return found


def read_file(address: str, root: Path) -> pl.DataFrame:
    """All rows of a file, in memory, in the types that it shows."""
    with Files(address).open(root, Reading(address, {})) as opened:
        return pl.concat([pl.DataFrame(schema=opened.schema), *opened.batches])


def digest_of_files(digests: list[str]) -> str:
    """One digest for several files, by theirs in their order; that of the file where there is one."""
    return digests[0] if len(digests) == 1 else digest_data(digests)


@dataclass(frozen=True)
class _OpenedFile(Opened):
    """A file that is being read, with what it was like before."""

    state: tuple[int, ...] = ()

    def unchanged(self, path: Path) -> None:
        """Raise DataError when the file is not what it was when reading began."""
        if _state(path) != self.state:
            raise DataError(f"{path} changed while it was read", hint="Try again when its writer is done.")


def _open_one(path: Path, reading: Reading, stack: ExitStack) -> _OpenedFile:
    state, kind = _state(path), _format(path)
    try:
        plain = _uncompressed(path, stack)
        if kind == "csv":
            schema, batches, look = _csv(plain, path, reading, stack)
            return _OpenedFile(schema, batches, look.rows, str(path), look.lines_before, state=state)
        if kind == "jsonl":
            _check_json_lines(plain, path)
            frame, rows = pl.scan_ndjson(glob.escape(str(plain)), infer_schema_length=None), None
        else:
            frame = pl.scan_parquet(plain, glob=False) if kind == "parquet" else pl.scan_ipc(plain, glob=False)
            rows = _height(frame)
        return _OpenedFile(frame.collect_schema(), _read(frame, path, reading), rows, str(path), state=state)
    except (PolarsError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise _unreadable(path, reading, error) from error


def _read(frame: pl.LazyFrame, path: Path, reading: Reading) -> Iterator[pl.DataFrame]:
    try:
        yield from batches_of(frame)
    except PolarsError as error:
        raise _unreadable(path, reading, error) from error


def _unreadable(path: Path, reading: Reading, error: BaseException) -> DataError:
    said = (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(f"{path} (dataset '{reading.dataset}') cannot be read: {said}")


def _csv(
    plain: Path, path: Path, reading: Reading, stack: ExitStack
) -> tuple[pl.Schema, Iterator[pl.DataFrame], CsvLook]:
    separator = reading.separator or ("\t" if ".tsv" in path.suffixes else ",")
    if reading.encoding.lower().replace("-", "") != "utf8":
        plain = _in_utf8(plain, path, reading.encoding, stack)
    with plain.open("rb") as file:
        look = look_over(file, path, separator)
    frame = scan(plain, reading, look, separator)
    schema = frame.collect_schema()
    for name, dtype in schema.items():
        if dtype in (pl.Int128, pl.UInt128):
            raise first_past_64_bits(plain, path, name, separator)

    def batches() -> Iterator[pl.DataFrame]:
        try:
            yield from batches_of(frame)
        except PolarsError as error:
            raise explained(error, plain, path, reading, separator) from None

    return schema, batches(), look


def _check_json_lines(plain: Path, path: Path) -> None:
    import msgspec

    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    with plain.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                decode(line)
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                if line.strip():
                    raise MalformedFile(path, number, f"it is not a JSON object: {error}") from None


def _format(path: Path) -> str:
    for suffix in reversed(path.suffixes):
        if suffix not in _COMPRESSED:
            if suffix in FORMATS:
                return FORMATS[suffix]
            break
    known = ", ".join(FORMATS)
    raise DataError(f"{path} is of no known format", hint=f"Known endings: {known}; with .gz or .zip as well.")


def _uncompressed(path: Path, stack: ExitStack) -> Path:
    """The file itself, or its contents in a temporary file."""
    if path.suffix not in _COMPRESSED:
        return path
    target = _temporary(stack, path.with_suffix("").name)
    with target.open("wb") as out:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                shutil.copyfileobj(file, out, 1 << 20)
        else:
            with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as member:
                shutil.copyfileobj(member, out, 1 << 20)
    return target


def _in_utf8(plain: Path, path: Path, encoding: str, stack: ExitStack) -> Path:
    target = _temporary(stack, "utf-8.csv")
    try:
        with plain.open(encoding=encoding, newline="") as file, target.open("w", encoding="utf-8", newline="") as out:
            shutil.copyfileobj(file, out, 1 << 20)
    except (UnicodeError, LookupError) as error:
        raise DataError(f"{path} is not written in {encoding}: {error}", hint="Correct encoding=.") from None
    return target


def _fetched(address: str, stack: ExitStack) -> list[Path]:
    """Copies of what a remote address names, so that one state of it is read from end to end."""
    fsspec = require("fsspec", extra="remote", purpose=f"the address {address}")
    filesystem, _ = fsspec.core.url_to_fs(address)
    paths = []
    for entry in _remote_entries(address):
        name = entry["name"]
        target = _temporary(stack, Path(name).name)
        try:
            filesystem.get_file(name, str(target))
        except Exception as error:
            raise DataError(f"{address} cannot be read: {error}") from error
        paths.append(target)
    return paths


def _remote_entries(address: str) -> list[dict[str, Any]]:
    fsspec = require("fsspec", extra="remote", purpose=f"the address {address}")
    try:
        filesystem, path = fsspec.core.url_to_fs(address)
        names = sorted(filesystem.glob(path)) if "*" in path else [path]
        entries = [filesystem.info(name) for name in names]
    except ImportError as error:
        raise DataError(f"{address} cannot be read: {error}", hint="pip install 'carrara[remote]'") from None
    except Exception as error:
        raise DataError(f"{address} cannot be read: {type(error).__name__}: {error}") from error
    if not entries:
        raise DataError(f"there is nothing at {address}")
    kept = ("name", "size", "ETag", "etag", "LastModified", "mtime", "generation", "md5Hash")
    return [{key: entry[key] for key in kept if key in entry} for entry in entries]


def _in_package(rest: str) -> Path:
    package, _, inner = rest.partition("/")
    # Finding a package does not import it: some ship data beside code that no longer runs.
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"the Python package '{package}' is not installed", hint=f"pip install {package}")
    return Path(spec.submodule_search_locations[0]) / inner


def _together(read: list[_OpenedFile], address: str) -> Opened:
    schema = pl.concat([pl.DataFrame(schema=one.schema) for one in read], how="diagonal_relaxed").schema

    def batches() -> Iterator[pl.DataFrame]:
        for one in read:
            for batch in one.batches:
                yield pl.concat([pl.DataFrame(schema=schema), batch], how="diagonal_relaxed").select(schema.names())

    rows = None if any(one.rows is None for one in read) else sum(one.rows or 0 for one in read)
    return Opened(schema, batches(), rows, address)


def _temporary(stack: ExitStack, name: str) -> Path:
    """A place for a file that goes with the stack; its own name, because errors tell it."""
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="carrara-"))) / name


def _height(frame: pl.LazyFrame) -> int:
    return int(frame.select(pl.len()).collect().item())


def _delta(path: Path) -> Any:
    from deltalake import DeltaTable

    return DeltaTable(str(path))


def _state(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino
