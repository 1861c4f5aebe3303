"""Drafts as Python source: safe to run and load whatever the names and texts in them are."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping

from carrara.features.feast.translation import (
    DatasetDraft,
    EntityDraft,
    FeatureDraft,
    ServiceDraft,
    Skipped,
    Translation,
    ViewDraft,
)

_WIDTH = 120
_CASTS = {
    "int32": "nw.Int32",
    "int64": "nw.Int64",
    "float32": "nw.Float32",
    "float64": "nw.Float64",
    "string": "nw.String",
    "bool": "nw.Boolean",
}


def definitions_text(made: Translation) -> str:
    """The source of a definitions file that declares the drafts, and names in comments what is left out."""
    parts = [
        _comment(f"Imported from the Feast project {made.project} by `carrara feature import feast`."),
        "import carrara\n" + ("import narwhals as nw\n" if made.views else ""),
        *_section("Entities.", map(_entity, [*made.entities.values(), *made.composites.values()])),
        *_section("Datasets.", map(_dataset, made.datasets.values())),
    ]
    blocks = ["\n".join(parts), *map(_view, made.views.values())]
    notes = [*map(_service, made.services), *_left_out(made.skipped)]
    return "\n\n".join([*blocks, "\n".join(notes)] if notes else blocks)


def _section(title: str, declared: Iterable[str]) -> Iterator[str]:
    text = "".join(declared)
    if text:
        yield f"# {title}\n{text}"


def _entity(entity: EntityDraft) -> str:
    keys = ", ".join(map(quoted, entity.keys)) + ("," if len(entity.keys) == 1 else "")
    said = _given(description=entity.description)
    return _remarks(entity.remarks) + _call(
        f"{entity.variable} = carrara.Entity", [quoted(entity.name), f"keys=({keys})", *said]
    )


def _dataset(dataset: DatasetDraft) -> str:
    said = _given(source=dataset.address, description=dataset.description, owner=dataset.owner)
    return _remarks(dataset.remarks) + _call(f"{dataset.variable} = carrara.Dataset", [quoted(dataset.name), *said])


def _view(view: ViewDraft) -> str:
    arguments = [
        *_given(entity=view.entity, source=view.source, event_time=view.event_time),
        *_given(created_time=view.created_time, ttl=view.ttl),
        _features(view.features),
        *_given(description=view.description, owner=view.owner),
    ]
    return (
        _remarks(view.remarks)
        + _call("@carrara.feature_view", arguments)
        + f"def {view.name}(rows):\n"
        + f"    return rows{_renamed(view.renames)}.with_columns(\n"
        + "".join(f"        {expression},\n" for expression in _typed(view))
        + "    )\n"
    )


def _features(features: tuple[FeatureDraft, ...]) -> str:
    lines = [
        f"        {quoted(one.name)}: {quoted(one.type)}," + (f"  # {printable(one.remark)}" if one.remark else "")
        for one in features
    ]
    return "\n".join(["features={", *lines, "    }"])


def _renamed(renames: Mapping[str, str]) -> str:
    pairs = ", ".join(f"{quoted(before)}: {quoted(after)}" for before, after in renames.items())
    return f".rename({{{pairs}}})" if pairs else ""


def _typed(view: ViewDraft) -> Iterator[str]:
    """The expressions that give columns their declared types; to Feast, a time without a zone is in UTC."""
    times = [view.event_time, view.created_time, *(one.name for one in view.features if one.type == "datetime")]
    if view.dated:
        times.remove(view.event_time)
        yield f'{_columns([view.event_time])}.cast(nw.Datetime("us")).dt.replace_time_zone("UTC")'
    if any(times):
        yield f'{_columns(times)}.dt.replace_time_zone("UTC")'
    for name, cast in _CASTS.items():
        typed = [one.name for one in view.features if one.type == name]
        if typed:
            yield f"{_columns(typed)}.cast({cast})"


def _columns(names: Iterable[str]) -> str:
    return f"nw.col({', '.join(quoted(name) for name in dict.fromkeys(names) if name)})"


def _service(service: ServiceDraft) -> str:
    said = f"feature service {service.name}: {', '.join(service.features) or 'nothing'}"
    return _comment(f"{said}. {service.description}" if service.description else said)


def _left_out(skipped: list[Skipped]) -> Iterator[str]:
    if skipped:
        yield "# Not imported:\n" + "".join(_comment(f"{one.kind} {one.name}: {one.why}") for one in skipped)


def _call(head: str, arguments: list[str]) -> str:
    line = f"{head}({', '.join(arguments)})"
    if len(line) <= _WIDTH and "\n" not in line:
        return f"{line}\n"
    return f"{head}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")\n"


def _given(**arguments: str) -> list[str]:
    """Keyword arguments with texts; those that are empty are left to their defaults."""
    return [f"{name}={quoted(text)}" for name, text in arguments.items() if text]


def _remarks(remarks: Iterable[str]) -> str:
    return "".join(f"# {printable(remark)}\n" for remark in remarks)


def _comment(text: str) -> str:
    return textwrap.fill(printable(text), _WIDTH, initial_indent="# ", subsequent_indent="#     ") + "\n"


def printable(text: str) -> str:
    """A text that stays in one line of Python source."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def quoted(text: str) -> str:
    """A text as a Python literal, in double quotes where it holds none.

    >>> print(quoted("the drivers' file"), quoted('"a" or b'))
    "the drivers' file" '"a" or b'
    """
    # With an apostrophe in it, Python chooses the other quotes.
    literal = repr(f"'{text}")
    return f'"{literal[2:]}' if literal.startswith('"') else repr(text)
