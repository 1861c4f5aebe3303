"""OpenLineage: the events of runs, START and COMPLETE, FAIL or ABORT, to a file or to a server that collects them.

An event that cannot be delivered is logged, and holds nothing up: what was done is done.
"""

from __future__ import annotations

import json
import logging
import os
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from carrara.core.clock import now
from carrara.core.environment import code_version
from carrara.metadata.lineage import edges_by
from carrara.metadata.run_events import RunEvent
from carrara.metadata.store import Metadata
from carrara.metadata.versions import Version, find_version

_logger = logging.getLogger("carrara.lineage")

_PRODUCER = "urn:carrara"
_SPEC = "https://openlineage.io/spec"
_EVENT = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
_TIMEOUT_SECONDS = 3.0
_TYPES = {"complete": "COMPLETE", "failed": "FAIL", "stopped": "ABORT"}


@dataclass(frozen=True)
class OpenLineage:
    """Writes events to `target`: an http(s) address, `file:PATH`, or a path; a line of JSON each."""

    target: str
    namespace: str
    root: Path

    @classmethod
    def configured(cls, target: str, namespace: str, root: Path) -> OpenLineage | None:
        """As OPENLINEAGE_URL (and _ENDPOINT, _NAMESPACE, _DISABLED) say, else as configured; None for nowhere."""
        if os.environ.get("OPENLINEAGE_DISABLED", "").lower() == "true":
            return None
        url = os.environ.get("OPENLINEAGE_URL")
        if url:
            endpoint = os.environ.get("OPENLINEAGE_ENDPOINT", "api/v1/lineage")
            target = f"{url.rstrip('/')}/{endpoint}" if url.startswith("http") else url
        namespace = os.environ.get("OPENLINEAGE_NAMESPACE") or namespace
        return cls(target, namespace, root) if target else None

    def told(self, metadata: Metadata, event: RunEvent) -> None:
        """Deliver an event, or log that it was not."""
        try:
            self._deliver(json.dumps(self.as_json(metadata, event), default=str).encode())
        except Exception as error:
            _logger.warning("an OpenLineage event of run %s was not delivered: %s", event.run_id, error)

    def as_json(self, metadata: Metadata, event: RunEvent) -> dict[str, Any]:
        """The event as the specification has it."""
        edges = edges_by(metadata, event.run_id)
        made = list(dict.fromkeys(edge.target for edge in edges))
        read = [source for source in dict.fromkeys(edge.source for edge in edges) if source not in made]
        return {
            "eventType": _TYPES.get(event.state, "START"),
            "eventTime": now().isoformat(),
            "producer": _PRODUCER,
            "schemaURL": _EVENT,
            "run": {"runId": event.run_id, "facets": self._run_facets(event)},
            "job": {
                "namespace": self.namespace,
                "name": f"{event.kind}.{event.name}",
                "facets": {
                    "jobType": _facet(
                        "2-0-3/JobTypeJobFacet",
                        processingType="BATCH",
                        integration="CARRARA",
                        jobType=event.kind.upper(),
                    ),
                    **self._source_code,
                },
            },
            "inputs": [self._dataset(metadata, address, output=False) for address in read],
            "outputs": [self._dataset(metadata, address, output=True) for address in made],
        }

    def _run_facets(self, event: RunEvent) -> dict[str, Any]:
        facets = {"carrara_run": _facet("", user=event.user, parameters=dict(event.parameters))}
        if event.parent is not None:
            run_id, kind, name = event.parent
            job = {"namespace": self.namespace, "name": f"{kind}.{name}"}
            facets["parent"] = _facet("1-1-0/ParentRunFacet", run={"runId": run_id}, job=job)
        if event.error:
            facets["errorMessage"] = _facet(
                "1-0-1/ErrorMessageRunFacet", message=event.error, programmingLanguage="PYTHON"
            )
        return facets

    @cached_property
    def _source_code(self) -> dict[str, Any]:
        """The revision of the definitions; asked of git once."""
        revision = code_version(self.root)["revision"]
        if revision is None:
            return {}
        url = self.root.absolute().as_uri()
        location = _facet("1-0-1/SourceCodeLocationJobFacet", type="git", url=url, version=revision)
        return {"sourceCodeLocation": location}

    def _dataset(self, metadata: Metadata, address: str, *, output: bool) -> dict[str, Any]:
        kind, _, rest = address.partition(":")
        name, _, number = rest.rpartition("@")
        found = find_version(metadata, kind, name, int(number)) if number.isdigit() else None
        if found is None:
            return {"namespace": self.namespace, "name": address, "facets": {}}
        record, facets = found.record, {"version": _facet("1-0-1/DatasetVersionDatasetFacet", datasetVersion=number)}
        columns = _columns(found)
        if columns:
            facets["schema"] = _facet("1-1-1/SchemaDatasetFacet", fields=columns)
        made: dict[str, Any] = {"namespace": self.namespace, "name": f"{kind}:{name}", "facets": facets}
        if output:
            lineage = {name: {"inputFields": list(fields)} for name, fields in self._column_lineage(found)}
            if lineage:
                facets["columnLineage"] = _facet("1-2-0/ColumnLineageDatasetFacet", fields=lineage)
            if "rows" in record:
                statistics = _facet("1-0-2/OutputStatisticsOutputDatasetFacet", rowCount=record["rows"])
                made["outputFacets"] = {"outputStatistics": statistics}
        elif "rows" in record:
            quality = _facet(
                "1-0-2/DataQualityMetricsInputDatasetFacet", rowCount=record["rows"], columnMetrics=_measured(found)
            )
            made["inputFacets"] = {"dataQualityMetrics": quality}
        return made

    def _column_lineage(self, found: Version) -> Iterator[tuple[str, Iterator[dict[str, str]]]]:
        """Of a training set: a feature comes from its view's table, what is carried from the labels."""
        if found.kind != "training_set":
            return
        labels = found.record["dataset"][0]
        for column in found.record["columns"]:
            view, _, feature = column.partition(":")
            if view in found.record["tables"]:
                yield column, iter([self._field(f"feature_table:{view}", feature)])
            elif not feature:
                yield column, iter([self._field(f"dataset:{labels}", column)])

    def _field(self, dataset: str, column: str) -> dict[str, str]:
        return {"namespace": self.namespace, "name": dataset, "field": column}

    def _deliver(self, data: bytes) -> None:
        if self.target.startswith(("http://", "https://")):
            headers = {"Content-Type": "application/json"}
            key = os.environ.get("OPENLINEAGE_API_KEY")
            headers |= {"Authorization": f"Bearer {key}"} if key else {}
            request = urllib.request.Request(self.target, data, headers, method="POST")
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):
                return
        path = self.root / self.target.removeprefix("file://").removeprefix("file:")
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write of a line, at the end: those of other processes stay whole.
        with path.open("ab", buffering=0) as file:
            file.write(data + b"\n")


def _columns(found: Version) -> list[dict[str, str]]:
    statistics = found.record.get("statistics")
    if isinstance(statistics, dict):
        return [{"name": name, "type": str(column.get("type", ""))} for name, column in statistics.items()]
    return [{"name": name} for name in found.record.get("columns", [])]


def _measured(found: Version) -> dict[str, dict[str, Any]]:
    names = {"nulls": "nullCount", "distinct": "distinctCount", "min": "min", "max": "max"}
    statistics = found.record.get("statistics") or {}
    return {
        column: {
            called: measured[name]
            for name, called in names.items()
            if isinstance(measured.get(name), int | float) and not isinstance(measured.get(name), bool)
        }
        for column, measured in statistics.items()
    }


def _facet(schema: str, **values: Any) -> dict[str, Any]:
    path, _, name = schema.partition("/")
    url = f"{_SPEC}/facets/{path}/{name}.json#/$defs/{name}" if name else _PRODUCER
    return {"_producer": _PRODUCER, "_schemaURL": url, **values}
