"""Import from Feast: a repository's registry, read without Feast, as the text of a definitions file.

In: a Feast repository's folder, or its registry file. Out: Python source that declares the same entities, datasets
and feature views, and a list of what could not be taken over, each with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from carrara.features.feast.registry import find_registry, project_of, read_registry
from carrara.features.feast.sources import Place
from carrara.features.feast.text import definitions_text
from carrara.features.feast.translation import Skipped, translate

__all__ = ["FeastImport", "Skipped", "import_feast"]


@dataclass(frozen=True)
class FeastImport:
    """The definitions' text, the names that it declares by kind, what it leaves out, and what to look at."""

    project: str
    definitions: str
    imported: dict[str, list[str]]
    skipped: list[Skipped]
    notes: list[str]


def import_feast(path: Path, root: Path, project: str | None = None) -> FeastImport:
    """What a Feast repository or registry file declares, for a workspace at `root`.

    Raises DataError for a path that is no Feast repository, for a registry that cannot be read, and where
    several projects share a registry and none is named.
    """
    found = find_registry(path)
    registry = read_registry(found.file)
    name = project_of(registry, found, project)
    translation = translate(registry, name, Place(found.repository, root))
    return FeastImport(
        project=name,
        definitions=definitions_text(translation),
        imported=translation.imported(),
        skipped=list(translation.skipped),
        notes=list(translation.notes),
    )
