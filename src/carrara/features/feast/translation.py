"""From Feast's specs to what is to be declared: entities, datasets, feature views; and what cannot be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from carrara.features.feast.names import Names, identifier
from carrara.features.feast.registry import everything, projects
from carrara.features.feast.sources import (
    Place,
    address_of,
    batch_sources,
    is_file,
    kind_of,
    what_it_was,
    why_not_batch,
)

TYPES = {
    "INT32": "int32",
    "INT64": "int64",
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "STRING": "string",
    "BOOL": "bool",
    "UNIX_TIMESTAMP": "datetime",
}
_KEY_TYPES = ("INVALID", "STRING", "INT32", "INT64")
_NOBODY = "__dummy"
"""The entity that Feast gives to views without one."""

_NOT_TAKEN = {
    "on-demand feature view": "its function is written for Feast's frames; write it as @carrara.on_demand_view",
    "label view": "labels are a model's: carrara.Label",
    "feature table": "it is of a Feast before 0.11; bring it up to a feature view there",
    "saved dataset": "training sets are made anew from labels and features",
    "validation reference": "rules of data are kept in schemas: carrara dataset schema infer",
    "permission": "Carrara keeps no permissions",
}


@dataclass(frozen=True)
class Skipped:
    """Something that Feast has and the definitions do not, and why."""

    kind: str
    name: str
    why: str


@dataclass(frozen=True)
class EntityDraft:
    variable: str
    name: str
    keys: tuple[str, ...]
    description: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class DatasetDraft:
    """A dataset; `importable` is False where its address stands for rows that are elsewhere."""

    variable: str
    name: str
    address: str
    description: str
    owner: str
    importable: bool = True
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeatureDraft:
    name: str
    type: str
    remark: str = ""


@dataclass(frozen=True)
class ViewDraft:
    """A feature view; `renames` are of its source's columns, `dated` says that its event time is a date."""

    name: str
    entity: str
    source: str
    event_time: str
    created_time: str
    ttl: str
    features: tuple[FeatureDraft, ...]
    renames: Mapping[str, str]
    dated: bool
    description: str
    owner: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServiceDraft:
    name: str
    features: tuple[str, ...]
    description: str


@dataclass
class Translation:
    """All drafts of one project, by their names in Feast, with what is left out and what a reader should look at."""

    project: str
    entities: dict[str, EntityDraft] = field(default_factory=dict)
    datasets: dict[str, DatasetDraft] = field(default_factory=dict)
    views: dict[str, ViewDraft] = field(default_factory=dict)
    services: list[ServiceDraft] = field(default_factory=list)
    composites: dict[frozenset[str], EntityDraft] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    variables: Names = field(default_factory=Names)
    names: dict[str, Names] = field(default_factory=dict)

    def imported(self) -> dict[str, list[str]]:
        """The names that the definitions declare, by kind."""
        return {
            "entity": [entity.name for entity in (*self.entities.values(), *self.composites.values())],
            "dataset": [dataset.name for dataset in self.datasets.values() if dataset.importable],
            "feature view": [view.name for view in self.views.values()],
        }

    def skip(self, kind: str, name: str, why: str) -> None:
        self.skipped.append(Skipped(kind, name, why))

    def name(self, kind: str, feast_name: str, wanted: str = "") -> str:
        """A name of its own among those of a kind; a note says where it is not Feast's."""
        given = self.names.setdefault(kind, Names()).give(identifier(wanted or feast_name))
        if given != feast_name:
            self.notes.append(f"{kind} '{feast_name}' is named {given}")
        return given

    def variable(self, name: str, kind: str) -> str:
        return self.variables.give(name, f"{name}_{kind}")


def translate(registry: Any, project: str, place: Place) -> Translation:
    """Everything that the registry holds of a project, as drafts."""
    specs = {kind: [s for s in items if s.project in (project, "")] for kind, items in everything(registry)}
    made = Translation(project)
    views = [(made.name("feature view", spec.name), spec) for spec in specs["feature view"]]
    # A view's variable is its name, so that the others give way.
    made.variables.taken.update(name for name, _ in views)
    for spec in specs["entity"]:
        if spec.name != _NOBODY:
            made.entities[spec.name] = _entity(made, spec)
    _translate_sources(made, specs, place)
    for name, spec in views:
        _translate_view(made, name, spec)
    made.services.extend(_service(made, spec) for spec in specs["feature service"])
    _skip_the_rest(made, specs)
    for other in sorted(projects(registry) - {project}):
        made.skip("project", other, f"one project is imported at a time; take it with --project {other}")
    return made


def _entity(made: Translation, spec: Any) -> EntityDraft:
    name = made.name("entity", spec.name)
    remarks = _remarks(tags=spec.tags, owner=spec.owner)
    key = spec.join_key or spec.name
    return EntityDraft(made.variable(name, "entity"), name, (key,), _line(spec.description), remarks)


def _translate_sources(made: Translation, specs: Mapping[str, list[Any]], place: Place) -> None:
    declared = specs["source"]
    for source in batch_sources(declared, [*specs["feature view"], *specs["stream feature view"]]):
        made.datasets[_source_name(source)] = _dataset(made, source, place)
    for source in declared:
        if why := why_not_batch(source):
            made.skip("source", source.name, why)


def _dataset(made: Translation, source: Any, place: Place) -> DatasetDraft:
    name = made.name("dataset", _source_name(source), _readable(source))
    variable, description = made.variable(name, "dataset"), _line(source.description)
    remarks = _remarks(tags=source.tags)
    if is_file(source):
        found = address_of(source, place)
        if found.problem:
            made.notes.append(f"dataset '{name}' reads {found.address}: {found.problem}")
        return DatasetDraft(variable, name, found.address, description, source.owner, remarks=remarks)
    made.skip("source", _source_name(source), f"its rows are in {kind_of(source)}; dataset '{name}' needs a source")
    first, *query = what_it_was(source)
    to_do = (
        f"TODO: {first}",
        *(f"    {line}" for line in query),
        "Write its rows to the file that is named here, or put a carrara.Sql query in the file's place.",
    )
    return DatasetDraft(
        variable, name, f"{name}.parquet", description, source.owner, importable=False, remarks=(*to_do, *remarks)
    )


def _translate_view(made: Translation, name: str, spec: Any) -> None:
    why = _why_not_a_view(made, spec)
    features = () if why else _features(made, spec)
    if not why and not features:
        why = "none of its features can be taken over"
    if why:
        made.skip("feature view", spec.name, why)
        return
    source = spec.batch_source
    mapping = dict(source.field_mapping)
    event_time, created_time = (mapping.get(c, c) for c in (source.timestamp_field, source.created_timestamp_column))
    entity = _entity_of(made, spec)
    used = {event_time, created_time, *entity.keys, *(feature.name for feature in features)}
    made.views[spec.name] = ViewDraft(
        name=name,
        entity=entity.name,
        source=made.datasets[_source_name(source)].name,
        event_time=event_time,
        created_time=created_time,
        ttl=_ttl(made, spec),
        features=features,
        renames={before: after for before, after in mapping.items() if after in used and before != after},
        dated=source.timestamp_field_type == "DATE",
        description=_line(spec.description),
        owner=spec.owner,
        remarks=_remarks(tags=spec.tags, online="" if spec.online else "no", disabled="yes" if spec.disabled else ""),
    )


def _why_not_a_view(made: Translation, spec: Any) -> str:
    if not [entity for entity in spec.entities if entity != _NOBODY]:
        return "it has no entity, and a feature view of Carrara describes one"
    for entity in spec.entities:
        if entity not in made.entities:
            return f"its entity '{entity}' is not in the registry"
    if spec.HasField("feature_transformation") or spec.source_views:
        return "it transforms other rows in Feast; write its function as a @carrara.feature_view"
    if not spec.HasField("batch_source") or _source_name(spec.batch_source) not in made.datasets:
        return "it has no batch source"
    if not spec.batch_source.timestamp_field:
        return "its source names no timestamp field"
    for key in spec.entity_columns:
        if _type_name(key) not in _KEY_TYPES:
            return f"its key '{key.name}' is of the type {_type_name(key)}; keys are strings or whole numbers"
    return ""


def _features(made: Translation, spec: Any) -> tuple[FeatureDraft, ...]:
    """The features of types that Carrara has; the others are skipped by name."""
    keys = {key for entity in spec.entities for key in made.entities[entity].keys}
    kept = []
    for feature in spec.features:
        if _type_name(feature) not in TYPES:
            why = f"Carrara has no type like {_type_name(feature)}"
            made.skip("feature", f"{spec.name}:{feature.name}", why)
        elif feature.name not in keys:
            remark = "; ".join([*filter(None, [_line(feature.description)]), *_remarks(tags=feature.tags)])
            kept.append(FeatureDraft(feature.name, TYPES[_type_name(feature)], remark))
    return tuple(kept)


def _entity_of(made: Translation, spec: Any) -> EntityDraft:
    """The view's entity; of several, one with all their keys, the same for every view of them."""
    members = [made.entities[name] for name in spec.entities]
    if len(members) == 1:
        return members[0]
    together = frozenset(spec.entities)
    if together not in made.composites:
        name = made.names["entity"].give("_and_".join(member.name for member in members))
        keys = tuple(dict.fromkeys(key for member in members for key in member.keys))
        made.composites[together] = EntityDraft(made.variable(name, "entity"), name, keys)
        made.notes.append(f"entity '{name}' has the keys of the entities {', '.join(spec.entities)} together")
    return made.composites[together]


def _ttl(made: Translation, spec: Any) -> str:
    """A TTL in Carrara's form; empty for Feast's 0, which never ends."""
    seconds = spec.ttl.seconds
    if spec.ttl.nanos:
        seconds += 1
        made.notes.append(f"feature view '{spec.name}': its TTL is rounded up to {seconds} seconds")
    if seconds <= 0:
        return ""
    unit, length = next((u, n) for u, n in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)) if seconds % n == 0)
    return f"{seconds // length}{unit}"


def _service(made: Translation, spec: Any) -> ServiceDraft:
    made.skip("feature service", spec.name, "a model names its features itself; written as a comment to copy from")
    references = [
        _reference(made, projection, feature.name)
        for projection in spec.features
        for feature in projection.feature_columns
    ]
    return ServiceDraft(spec.name, tuple(references), _line(spec.description))


def _reference(made: Translation, projection: Any, feature: str) -> str:
    view = made.views.get(projection.feature_view_name)
    if view is None or feature not in {kept.name for kept in view.features}:
        return f"{projection.feature_view_name}:{feature} (not imported)"
    renamed = [f"{key}={value}" for key, value in projection.join_key_map.items()]
    said = ([f"as {projection.feature_view_name_alias}"] if projection.feature_view_name_alias else []) + renamed
    return f"{view.name}:{feature}" + (f" ({', '.join(said)})" if said else "")


def _skip_the_rest(made: Translation, specs: Mapping[str, list[Any]]) -> None:
    for spec in specs["stream feature view"]:
        dataset = made.datasets.get(_source_name(spec.batch_source))
        then = f"; its batch source is dataset '{dataset.name}'" if dataset else ""
        made.skip("stream feature view", spec.name, f"Carrara reads no streams{then}")
    for kind, why in _NOT_TAKEN.items():
        for spec in specs[kind]:
            made.skip(kind, spec.name, why)


def _source_name(source: Any) -> str:
    return str(source.name or source.file_options.uri)


def _readable(source: Any) -> str:
    """What to name a dataset after: Feast names a source without a name by its path."""
    name = _source_name(source)
    return PurePosixPath(name).stem if name == source.file_options.uri else name


def _type_name(feature: Any) -> str:
    known = feature.DESCRIPTOR.fields_by_name["value_type"].enum_type.values_by_number
    return known[feature.value_type].name if feature.value_type in known else f"number {feature.value_type}"


def _remarks(tags: Mapping[str, str], **said: str) -> tuple[str, ...]:
    """What Feast says and no argument takes, as comments."""
    tagged = ", ".join(f"{key}={value}" for key, value in sorted(tags.items()))
    return tuple(f"{name}: {text}" for name, text in {"tags": tagged, **said}.items() if text)


def _line(text: str) -> str:
    return " ".join(text.split())
