"""`carrara.toml`: found by walking upwards, every key optional, an unknown key refused by name."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from carrara.core.clock import duration
from carrara.core.errors import ConfigurationError, did_you_mean
from carrara.core.spark import is_spark, spark_master

FILE_NAME = "carrara.toml"


@dataclass(frozen=True)
class WorkspaceSection:
    name: str = ""
    definitions: tuple[str, ...] = ("definitions.py",)


@dataclass(frozen=True)
class StoresSection:
    metadata: str = "sqlite:///.carrara/metadata.db"
    lake: str = ".carrara/lake"
    artifacts: str = ".carrara/artifacts"
    online: str = "lmdb:.carrara/online"


@dataclass(frozen=True)
class EngineSection:
    """Where work is done: `local`, or for features `spark:local[4]` or `spark://HOST:7077`, and for the workers of a
    fit `ray://HOST:10001`, `ray` (the cluster of RAY_ADDRESS), or `ray:local`. Trainers of Spark run on the Spark of
    `training`, or that of `features`."""

    features: str = "local"
    training: str = "local"

    @property
    def spark(self) -> str:
        """The master of the Spark that trainers run on, empty where none is named."""
        return next((spark_master(one) for one in (self.training, self.features) if is_spark(one)), "")


@dataclass(frozen=True)
class FeaturesSection:
    """`require` names what every view must say: `owner`, `description`, `tags`, …"""

    require: tuple[str, ...] = ()


@dataclass(frozen=True)
class LineageSection:
    """Where OpenLineage events go: `file:PATH`, a path, or the whole http(s) address; by default nowhere."""

    openlineage: str = ""
    namespace: str = ""


@dataclass(frozen=True)
class LimitSection:
    """What one endpoint takes; `rows` of one request; 0 is no limit."""

    requests_per_second: int = 0
    concurrent: int = 0
    rows: int = 0


@dataclass(frozen=True)
class ServingSection:
    """`tokens` asks for one on loopback too; `tls_certificate` and `tls_key` are PEM files.

    `access_log` is a file that takes a line of JSON for each request; `limits` are of endpoints, by their names;
    `max_message` is the largest message, such as 256MB.
    """

    host: str = "127.0.0.1"
    grpc_port: int = 8500
    rest_port: int = 8501
    tokens: bool = False
    tls_certificate: str = ""
    tls_key: str = ""
    access_log: str = ""
    max_message: str = ""
    limits: Mapping[str, LimitSection] = field(default_factory=dict)


@dataclass(frozen=True)
class DeploymentsSection:
    """`gates` names what every version has been held against before it takes traffic, such as `nulls_handled`; with
    `shadow` it has been a shadow, too, where another version answers."""

    gates: tuple[str, ...] = ()
    shadow: bool = False


@dataclass(frozen=True)
class UiSection:
    """`url` is where people reach the page of `carrara ui`; alerts link to it."""

    url: str = ""

    def __post_init__(self) -> None:
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ConfigurationError(
                f"[ui] url is '{self.url}', which is no address of a page",
                hint='Write url = "https://carrara.example.org".',
            )


@dataclass(frozen=True)
class RetentionSection:
    """For how long each kind is kept, such as `90d`; what is not named is kept for ever. `carrara gc` applies it."""

    predictions: str = ""
    windows: str = ""
    runs: str = ""

    def __post_init__(self) -> None:
        for name, text in asdict(self).items():
            try:
                kept = not text or bool(duration(text))
            except ConfigurationError as error:
                raise ConfigurationError(f"[retention] {name}: {error.message}", hint=error.hint) from None
            if not kept:
                raise ConfigurationError(
                    f"[retention] {name} is '{text}', which keeps nothing", hint="Leave it out to keep all for ever."
                )

    @property
    def is_set(self) -> bool:
        return any(asdict(self).values())

    def of(self, kind: str) -> timedelta | None:
        """How old one of a kind may get; None is for ever."""
        text: str = getattr(self, kind)
        return duration(text) if text else None


@dataclass(frozen=True)
class Configuration:
    """What `carrara.toml` says; `root` is the folder that holds it, and relative paths start there."""

    root: Path
    workspace: WorkspaceSection = field(default_factory=WorkspaceSection)
    stores: StoresSection = field(default_factory=StoresSection)
    engine: EngineSection = field(default_factory=EngineSection)
    features: FeaturesSection = field(default_factory=FeaturesSection)
    serving: ServingSection = field(default_factory=ServingSection)
    deployments: DeploymentsSection = field(default_factory=DeploymentsSection)
    lineage: LineageSection = field(default_factory=LineageSection)
    ui: UiSection = field(default_factory=UiSection)
    retention: RetentionSection = field(default_factory=RetentionSection)

    @property
    def name(self) -> str:
        return self.workspace.name or self.root.name

    @property
    def definition_files(self) -> list[Path]:
        return [self.root / path for path in self.workspace.definitions]


def find_root(start: Path) -> Path:
    """The nearest folder at or above `start` that holds `carrara.toml`."""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / FILE_NAME).is_file():
            return folder
    raise ConfigurationError(
        f"there is no {FILE_NAME} in {start} or above it",
        hint="Make a workspace with: carrara init, or name one with --workspace DIR.",
    )


def read_configuration(root: Path) -> Configuration:
    """Read `root/carrara.toml`; environment variables CARRARA_SECTION__KEY override it."""
    path = root / FILE_NAME
    try:
        data = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigurationError(f"there is no {FILE_NAME} in {root}", hint="carrara init makes one.") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None
    for key, value in _from_environment().items():
        data.setdefault(key[0], {})[key[1]] = value
    configuration: Configuration = _build(Configuration, {**data, "root": root}, str(path), "")
    return configuration


def read_limits(path: Path) -> Mapping[str, LimitSection]:
    """The limits of endpoints, by their names, in a TOML file of their own."""
    try:
        data = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None
    return {name: _value(LimitSection, one, str(path), name) for name, one in data.items()}


def _from_environment() -> dict[tuple[str, str], str]:
    found = {}
    for name, value in os.environ.items():
        section, separator, key = name.removeprefix("CARRARA_").lower().partition("__")
        if name.startswith("CARRARA_") and separator:
            found[section, key] = value
    return found


def _build(kind: type[Any], data: dict[str, Any], path: str, prefix: str) -> Any:
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]
    for key in data:
        if key not in known:
            raise ConfigurationError(
                f"{path} has the unknown key '{prefix}{key}'",
                hint=did_you_mean(key, known) or f"Known keys here: {', '.join(k for k in known if k != 'root')}.",
            )
    return kind(**{key: _value(hints[key], value, path, prefix + key) for key, value in data.items()})


def _value(hint: Any, value: Any, path: str, key: str) -> Any:
    if is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, dict):
            raise ConfigurationError(f"[{key}] of {path} is a section, and {value!r} was written")
        return _build(hint, value, path, key + ".")
    if get_origin(hint) is Mapping:
        if not isinstance(value, dict):
            raise ConfigurationError(f"[{key}] of {path} is a section, and {value!r} was written")
        return {name: _value(get_args(hint)[1], one, path, f"{key}.{name}") for name, one in value.items()}
    if hint is Path:
        return value
    if hint is int and isinstance(value, str) and value.isdigit():
        return int(value)
    if hint is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if hint is str and isinstance(value, str):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint == tuple[str, ...] and isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    expected = {str: "a string", int: "a whole number", bool: "true or false"}.get(hint, "a list of strings")
    raise ConfigurationError(f"'{key}' of {path} must be {expected}, and {value!r} was written")
