"""The model card: what a stranger needs to know of a version, as Hugging Face's hub reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_MOST_FEATURES = 15
_MOST_SLICES = 12
_TASKS = {"regression": "tabular-regression"}


def model_card(record: Mapping[str, Any]) -> str:
    """A README.md of a record: YAML in front (tags, datasets, metrics, `model-index`), then what people read."""
    return "\n".join([*_front(record), "", *_body(record), ""])


def _front(record: Mapping[str, Any]) -> Iterator[str]:
    kind = _kind(record)
    task = _TASKS.get(kind, "tabular-classification")
    test = {name: value["value"] for name, value in record["metrics"]["test"].items() if value["value"] is not None}
    yield "---"
    yield "library_name: carrara"
    yield f"pipeline_tag: {task}"
    yield "tags:"
    for tag in ("carrara", "tabular", kind, *(f"{name}:{text}" for name, text in record.get("tags", {}).items())):
        yield f"  - {_quoted(tag)}"
    yield from _listed("datasets", record["datasets"].get("sources", {}))
    yield from _listed("metrics", test)
    yield "model-index:"
    yield f"  - name: {_quoted(record['model'])}"
    yield "    results:"
    yield f"      - task: {{type: {task}}}"
    yield f"        dataset: {{type: tabular, name: {_quoted(_data(record))}}}"
    yield "        metrics:" if test else "        metrics: []"
    for name, value in test.items():
        yield f"          - {{type: {_quoted(name)}, value: {value!r}}}"
    yield "---"


def _listed(field: str, names: Mapping[str, Any]) -> Iterator[str]:
    if names:
        yield f"{field}:"
        yield from (f"  - {_quoted(name)}" for name in names)


def _body(record: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {_text(record['model'])}, version {record['version']}"
    yield ""
    about = record.get("description") or record["configuration"].get("description")
    if about:
        yield from (_text(about), "")
    yield f"Predicts `{_label(record)}`. Trained by {_text(record['trained_by'])} from {record['started_at'][:19]} to"
    yield f"{record['ended_at'][:19]} UTC" + (f"; {_text(record['owner'])} answers for it." if record["owner"] else ".")
    yield from ("", "## How good it is", "", *_metrics(record))
    yield from ("", "## Gates", "", *_gates(record))
    yield from ("", "## Where it is better and worse", "", *_slices(record))
    yield from ("", "## What it was trained on", "", *_trained_on(record))
    yield from ("", "## What it looks at", "", *_features(record))
    yield from ("", "## How to ask it", "", *_asked(record))


def _metrics(record: Mapping[str, Any]) -> Iterator[str]:
    baseline = record["metrics"].get("baseline") or {}
    yield from _table(
        ["metric", "test", "from", "to", "baseline"],
        (
            [name, v["value"], v.get("low"), v.get("high"), (baseline.get(name) or {}).get("value")]
            for name, v in record["metrics"]["test"].items()
        ),
    )


def _gates(record: Mapping[str, Any]) -> Iterator[str]:
    for result in record["gates"]["results"]:
        yield f"- {'passed' if result['passed'] else '**failed**'}: {_text(result['message'])}"
    if not record["gates"]["results"]:
        yield "None were declared."
    for decision in record.get("approvals", ()):
        yield f"- {decision['decision']} by {_text(decision['by'])}, {decision['at'][:10]}: {_text(decision['reason'])}"


def _slices(record: Mapping[str, Any]) -> Iterator[str]:
    slices = record["metrics"].get("slices") or []
    main = next(iter(record["metrics"]["test"]), None)
    if not slices or main is None:
        yield "No slices were measured."
        return
    rows = [[f"{s['column']} = {s['value']}", s["rows"], (s["metrics"].get(main) or {}).get("value")] for s in slices]
    yield from _table(["slice", "rows", main], rows[:_MOST_SLICES])


def _trained_on(record: Mapping[str, Any]) -> Iterator[str]:
    for name, part in record["datasets"].get("parts", {}).items():
        yield f"- {name}: {part['rows']:,} rows, {str(part['from'])[:19]} to {str(part['to'])[:19]}"
    for name, source in record["datasets"].get("sources", {}).items():
        digest = source["digest"][:12]
        yield f"- dataset `{name}`, version {source['version']}, {source['rows']:,} rows, digest `{digest}`"


def _features(record: Mapping[str, Any]) -> Iterator[str]:
    ordered = sorted(record["features"], key=lambda feature: -(feature.get("importance") or 0))
    rows = [[f"`{f['name']}`", f.get("dtype"), f.get("importance")] for f in ordered]
    yield from _table(["feature", "type", "share of importance"], rows[:_MOST_FEATURES])
    if len(rows) > _MOST_FEATURES:
        yield f"\nand {len(rows) - _MOST_FEATURES} more."


def _asked(record: Mapping[str, Any]) -> Iterator[str]:
    for name, signature in record["signature"].items():
        inputs = ", ".join(f"`{tensor['name']}` ({tensor['dtype']})" for tensor in signature["inputs"])
        outputs = ", ".join(f"`{tensor['name']}` ({tensor['dtype']})" for tensor in signature["outputs"])
        yield f"- `{name}`: {inputs}; answers {outputs}"


def _table(columns: list[str], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(_text(column) for column in columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(_cell(cell) for cell in row)} |"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else _text(value)


def _text(value: Any) -> str:
    """A text that stays one: no HTML, no table's column, no heading of its own."""
    plain = " ".join(str(value).split())
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _quoted(value: Any) -> str:
    """A YAML scalar: JSON's texts are YAML's, too."""
    return json.dumps(str(value), ensure_ascii=True)


def _kind(record: Mapping[str, Any]) -> str:
    return str((record["configuration"].get("label") or {}).get("kind") or "binary")


def _label(record: Mapping[str, Any]) -> str:
    label = record["configuration"].get("label") or {}
    return f"{label.get('column', '?')} of {label.get('dataset', '?')}"


def _data(record: Mapping[str, Any]) -> str:
    return str((record["configuration"].get("label") or {}).get("dataset") or "unknown")
