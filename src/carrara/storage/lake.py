"""The lake: Delta tables in one folder. A write is one atomic commit; every version can be read."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

import msgspec
import polars as pl

from carrara.core.errors import ConfigurationError, NotFoundError, Overtaken, StorageError
from carrara.core.identity import new_id
from carrara.storage.folders import holds_anything
from carrara.storage.held_tables import HeldTables

_MARK = "carrara.commit"
_LOG = "_delta_log"
_RECENT = 100
_MOST_FILES = 100
_ATTEMPTS = 20
_PAUSE_SECONDS = 0.02
_REFUSED = set("[]^|\\")


class Lake:
    """Tables by name (`datasets/flights`) below one folder.

    While that is away, as `known` says that there are tables and there is nothing, no other lake is made in its place.
    """

    def __init__(self, address: str, known: Callable[[], bool] = lambda: False) -> None:
        if "://" in address:
            raise ConfigurationError(
                f"the lake cannot be at '{address}'",
                hint='This release keeps it in a local folder: lake = "PATH".',
            )
        self._root, self._known = Path(address), known
        if refused := sorted(_REFUSED & set(str(self._root.absolute()))):
            raise ConfigurationError(
                f"the lake cannot be at {self._root.absolute()}: Delta tables take no {' '.join(refused)} in a path",
                hint="Rename the folder.",
            )
        self._held = HeldTables()

    def write(self, table: str, data: pl.DataFrame, *, mode: Literal["overwrite", "append"] = "overwrite") -> int:
        """Commit `data` as the next version of `table` and return its number.

        Overwriting takes the new columns; appending adds missing ones. Raises StorageError.
        """
        return self.write_batches(table, data.schema, [data], mode=mode)

    def write_batches(
        self,
        table: str,
        schema: pl.Schema,
        batches: Iterable[pl.DataFrame],
        *,
        mode: Literal["overwrite", "append"] = "overwrite",
    ) -> int:
        """Commit a stream of batches, all of `schema`, as one version, in bounded memory.

        An error that `batches` raises, also after its last batch, leaves the table as it was and is raised here.
        """
        from deltalake import write_deltalake

        schema_mode: Any = "overwrite" if mode == "overwrite" else "merge"

        def write(path: str, rows: Any) -> int:
            mark, properties = _marked()
            write_deltalake(
                path,
                rows,
                mode=mode,
                schema_mode=schema_mode,
                commit_properties=properties,
                writer_properties=_encoding(schema),
            )
            return _version_of(path, mark)

        return self._commit(table, schema, batches, write)

    def append(
        self, table: str, data: pl.DataFrame, *, moves: Mapping[str, tuple[int | None, int]] | None = None
    ) -> None:
        """Commit `data` at the end of `table`, beside any number of other writers.

        `moves` takes positions (see `position`) from one number to another in the same commit; where one of them is
        elsewhere, nothing is written and Overtaken is raised.
        """
        from deltalake import Transaction

        def moved(there: Any) -> list[Any]:
            for name, (before, _) in (moves or {}).items():
                if before != there.transaction_version(name):
                    raise Overtaken("table", table, there.version())
            return [Transaction(name, after) for name, (_, after) in (moves or {}).items()]

        self._append(table, data, moved)

    def append_once(self, table: str, data: pl.DataFrame, position: str, number: int) -> bool:
        """Commit `data` at the end of `table` unless `position` has come to `number`, and move it there in the same
        commit; whether it was written now."""
        from deltalake import Transaction

        def moved(there: Any) -> list[Any] | None:
            before = there.transaction_version(position)
            return [Transaction(position, number)] if before is None or before < number else None

        return self._append(table, data, moved)

    def _append(self, table: str, data: pl.DataFrame, moved: Callable[[Any], list[Any] | None]) -> bool:
        """Append, beside others; `moved` says which positions the commit moves, None where there is nothing to do."""
        from arro3.core import Table
        from deltalake import CommitProperties, DeltaTable, write_deltalake
        from deltalake.exceptions import CommitFailedError, DeltaError

        self.require_there()
        path = str(self._root / table)
        for attempt in range(_ATTEMPTS):
            try:
                if not self.exists(table):
                    DeltaTable.create(path, Table.from_arrow(data).schema, mode="ignore")
                # A commit through this very state of the table fails where another one moved a position since.
                with self._held.newest(self._root / table) as there:
                    if (transactions := moved(there)) is None:
                        return False
                    write_deltalake(
                        there,
                        data,
                        mode="append",
                        schema_mode="merge",
                        commit_properties=CommitProperties(app_transactions=transactions or None),
                        writer_properties=_encoding(data.schema),
                    )
                return True
            except CommitFailedError:
                time.sleep(_PAUSE_SECONDS * attempt * random.random())
            except (DeltaError, OSError) as error:
                raise StorageError(f"table '{table}' of the lake could not be written: {error}") from error
        raise StorageError(f"table '{table}' of the lake is written by too many at once; nothing was appended")

    def position(self, table: str, name: str) -> int | None:
        """How far the commits of `table` have come in what `name` stands for, as by `append`; None at first."""
        if not self.exists(table):
            return None
        with self._held.newest(self._root / table) as there:
            return there.transaction_version(name)

    def merge_batches(self, table: str, schema: pl.Schema, batches: Iterable[pl.DataFrame], key: Sequence[str]) -> int:
        """Commit a stream of rows, each in place of the row with its `key`, or new; as `write_batches` otherwise."""
        from deltalake import DeltaTable

        same = " AND ".join(f't."{name}" = s."{name}"' for name in key)

        def merge(path: str, rows: Any) -> int:
            mark, properties = _marked()
            merging = DeltaTable(path).merge(
                rows, same, source_alias="s", target_alias="t", merge_schema=True, commit_properties=properties
            )
            merging.when_matched_update_all().when_not_matched_insert_all().execute()
            return _version_of(path, mark)

        return self._commit(table, schema, batches, merge)

    def restore(self, table: str, version: int) -> None:
        """Make an earlier version the newest again, as one more commit; nothing when it is the newest already."""
        from deltalake import DeltaTable

        found = DeltaTable(str(self._root / table))
        if found.version() != version:
            found.restore(version)

    def _commit(
        self, table: str, schema: pl.Schema, batches: Iterable[pl.DataFrame], write: Callable[[str, Any], int]
    ) -> int:
        from arro3.core import RecordBatchReader, Table

        self.require_there()
        path = self._root / table
        stopped: list[BaseException] = []

        def stream() -> Iterator[Any]:
            try:
                for batch in batches:
                    yield from Table.from_arrow(batch).to_batches()
            except BaseException as error:
                # The writer is in another language and hands back a text; the error itself is raised below.
                stopped.append(error)
                raise

        try:
            path.mkdir(parents=True, exist_ok=True)
            rows = RecordBatchReader.from_batches(Table.from_arrow(pl.DataFrame(schema=schema)).schema, stream())
            return write(str(path), rows)
        except Exception as error:
            if stopped:
                raise stopped[0] from None
            raise StorageError(f"table '{table}' of the lake could not be written: {error}") from error

    def scan(self, table: str, version: int | None = None) -> pl.LazyFrame:
        """A version of `table`, or the newest, as a lazy frame."""
        if not self.exists(table):
            self.require_there()
            raise NotFoundError("table", table, hint="It was not written yet, or the lake is another one.")
        from deltalake import DeltaTable

        found = DeltaTable(str(self._root / table), version=version)
        return _scan(_files(found), _schema(found))

    def tail(self, table: str, rows: int) -> pl.LazyFrame:
        """The rows that came last, at least so many: those of the newest files of `table`."""
        from deltalake import DeltaTable

        if not self.exists(table):
            raise NotFoundError("table", table, hint="It was not written yet, or the lake is another one.")
        found = DeltaTable(str(self._root / table))
        added = pl.DataFrame(found.get_add_actions(flatten=True)).select("path", "modification_time", "num_records")
        newest = added.sort("modification_time", descending=True)
        before = newest["num_records"].fill_null(0).cum_sum().shift(1, fill_value=0)
        wanted = {unquote(path).rpartition("/")[2] for path in newest.filter(before < rows)["path"]}
        return _scan([file for file in _files(found) if file.rpartition("/")[2] in wanted], _schema(found))

    def folder(self, table: str) -> Path:
        """Where files for `commit_files` are to be written."""
        self.require_there()
        path = (self._root / table).absolute()
        path.mkdir(parents=True, exist_ok=True)
        return path

    def files(self, table: str, version: int | None = None) -> list[str]:
        """The Parquet files of a version of `table`, or of the newest, for readers of another kind."""
        from deltalake import DeltaTable

        return _files(DeltaTable(str((self._root / table).absolute()), version=version))

    def commit_files(self, table: str, schema: pl.Schema, files: Mapping[str, int]) -> int:
        """Make Parquet files that lie in the table's folder (names, and their rows) its next version, instead of all
        that it had; what writers elsewhere have left there is not seen before."""
        from arro3.core import Table
        from deltalake import DeltaTable, Schema
        from deltalake.exceptions import DeltaError
        from deltalake.transaction import AddAction

        folder = self.folder(table)
        mark, properties = _marked()
        try:
            arrow = Table.from_arrow(pl.DataFrame(schema=schema)).schema
            DeltaTable.create(str(folder), arrow, mode="ignore")
            added: list[Any] = [
                AddAction(name, stat.st_size, {}, int(stat.st_mtime * 1000), True, f'{{"numRecords":{rows}}}')
                for name, rows in files.items()
                for stat in [(folder / name).stat()]
            ]
            DeltaTable(str(folder)).create_write_transaction(
                added, "overwrite", Schema.from_arrow(arrow), commit_properties=properties
            )
        except (DeltaError, OSError) as error:
            raise StorageError(f"table '{table}' of the lake could not be written: {error}") from error
        return _version_of(str(folder), mark)

    def scan_appended(self, table: str, *, after: int | None, until: int | None = None) -> pl.LazyFrame:
        """What was appended to a table since version `after`, up to version `until` or the newest; where files were
        joined since, more of it than that."""
        if after is None:
            return self.scan(table, until)
        from deltalake import DeltaTable

        path = str(self._root / table)
        new = set(_files(DeltaTable(path, version=until))) - set(_files(DeltaTable(path, version=after)))
        return _scan(sorted(new), self.scan(table, until).collect_schema())

    def compact(self, table: str) -> int | None:
        """Join the small files of a table that is appended to, where they are many; its newest version, if any."""
        from deltalake import DeltaTable

        if not self.exists(table):
            return None
        found = DeltaTable(str(self._root / table))
        if len(found.file_uris()) > _MOST_FILES:
            found.optimize.compact()
        return found.version()

    def tables(self, folder: str) -> list[str]:
        """The tables right below a folder, such as `predictions/late` below `predictions`."""
        return sorted(f"{folder}/{log.parent.name}" for log in (self._root / folder).glob(f"*/{_LOG}"))

    def delete_rows(self, table: str, where: str) -> int:
        """Take the rows for which `where` (SQL) holds out of the newest version, in one commit; how many they were.

        Earlier versions have them until their files are removed, see `remove_old_files`.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import CommitFailedError, DeltaError

        for attempt in range(_ATTEMPTS):
            try:
                return int(DeltaTable(str(self._root / table)).delete(where).get("num_deleted_rows") or 0)
            except CommitFailedError:
                time.sleep(_PAUSE_SECONDS * attempt * random.random())
            except (DeltaError, OSError) as error:
                raise StorageError(f"rows of table '{table}' of the lake could not be deleted: {error}") from error
        raise StorageError(f"table '{table}' of the lake is written by too many at once; nothing was deleted")

    def remove_old_files(self, table: str, *, grace: timedelta = timedelta(days=7)) -> int:
        """Remove the files that the newest version has not had for `grace`: who reads an earlier one has so long."""
        from deltalake import DeltaTable

        hours = grace // timedelta(hours=1)
        found = DeltaTable(str(self._root / table))
        return len(found.vacuum(hours, dry_run=False, enforce_retention_duration=False))

    def newest(self, table: str) -> int | None:
        """The number of the newest version of `table`; None where there is none."""
        from deltalake import DeltaTable

        return DeltaTable(str(self._root / table)).version() if self.exists(table) else None

    def left_behind(self) -> Iterator[Path]:
        """Data files that no commit of their table has ever named: those of writers that failed, or still write."""
        folders = {path.parent for path in self._root.rglob("*.parquet") if _LOG not in path.parts}
        for table in sorted({_table_of(folder, self._root) for folder in folders}):
            named = _named_in_log(table / _LOG)
            for path in sorted(table.rglob("*.parquet")):
                inside = path.relative_to(table)
                if (
                    _LOG not in inside.parts
                    and inside.as_posix() not in named
                    and _table_of(path.parent, table) == table
                ):
                    yield path

    def require_there(self) -> None:
        """StorageError where the lake is away: a new one in its place would hide its rows, and be hidden once it is
        back. A folder where something would be mounted is empty."""
        if not holds_anything(self._root) and self._known():
            raise StorageError(
                f"the lake is away: there is nothing at {self._root}, and tables of it are known",
                hint="Mount it, or set lake in [stores] of carrara.toml to where it is now.",
            )

    def exists(self, table: str) -> bool:
        try:
            return (self._root / table / _LOG).is_dir()
        except OSError:  # A name that no folder can have.
            return False


def _table_of(folder: Path, root: Path) -> Path:
    """The table's folder at or above one, which is that with a log; the folder itself where there is none."""
    for above in (folder, *folder.parents):
        if (above / _LOG).is_dir():
            return above
        if above == root:
            break
    return folder


def _named_in_log(log: Path) -> set[str]:
    """Every data file that a commit has added or removed, as far as the log goes back."""
    named: set[str] = set()
    for commit in log.glob("*.json"):
        for line in commit.read_bytes().splitlines():
            entry = msgspec.json.decode(line)
            named.update(unquote(entry[kind]["path"]) for kind in ("add", "remove") if kind in entry)
    for checkpoint in log.glob("*.parquet"):
        columns = pl.scan_parquet(checkpoint, glob=False)
        for kind in ("add", "remove"):
            if kind in columns.collect_schema():
                paths = columns.select(pl.col(kind).struct.field("path")).collect().to_series().drop_nulls()
                named.update(map(unquote, paths))
    return named


def _schema(table: Any) -> pl.Schema:
    from arro3.core import Table

    return pl.DataFrame(Table.from_batches([], schema=table.schema().to_arrow())).schema


def _files(table: Any) -> list[str]:
    # delta-rs names files as parts of an address: a space is %20 there.
    return [unquote(address) for address in table.file_uris()]


def _scan(files: Sequence[str], schema: pl.Schema) -> pl.LazyFrame:
    if not files:
        return pl.LazyFrame(schema=schema)
    return pl.scan_parquet(list(files), schema=schema, missing_columns="insert", extra_columns="ignore", glob=False)


def _encoding(schema: pl.Schema) -> Any:
    """Floats hardly repeat: a dictionary of them takes three times as long to write, and more room."""
    from deltalake import ColumnProperties, WriterProperties

    plain = ColumnProperties(dictionary_enabled=False)
    return WriterProperties(column_properties={name: plain for name, dtype in schema.items() if dtype.is_float()})


def _marked() -> tuple[str, Any]:
    from deltalake import CommitProperties

    mark = new_id()
    return mark, CommitProperties(custom_metadata={_MARK: mark})


def _version_of(path: str, mark: str) -> int:
    """The version that a marked commit made: the newest one may be another writer's already."""
    from deltalake import DeltaTable

    table = DeltaTable(path)
    # delta-rs lists commits from the newest on, and leaves the number of the version to the reader.
    commits = table.history(_RECENT)
    return next(table.version() - back for back, commit in enumerate(commits) if commit.get(_MARK) == mark)
