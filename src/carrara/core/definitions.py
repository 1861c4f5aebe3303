"""Definitions: what a user's file declares, loaded from a path or from recorded source.

A definition is any object with `kind`, `name` and `spec()`; a file's definitions are the module's
top-level names. Nothing registers itself on import, so loading a file twice is harmless.
"""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from carrara.core.digests import digest_data
from carrara.core.errors import CarraraError, DefinitionError, DuplicateDefinition, NotFoundError


@runtime_checkable
class Definition(Protocol):
    """What Carrara needs of a declared object: `spec()` is plain data, complete, and comparable."""

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    def spec(self) -> dict[str, Any]: ...


T = TypeVar("T")


@dataclass(frozen=True)
class Definitions:
    """All definitions of a workspace by (kind, name), and the source that they came from."""

    objects: Mapping[tuple[str, str], Definition]
    source: Mapping[str, str]

    def of_kind(self, kind: str) -> dict[str, Any]:
        return {name: d for (k, name), d in self.objects.items() if k == kind}

    def get(self, kind: str, name: str, type_: type[T], *, where: str = "") -> T:
        """The definition of that kind and name; NotFoundError names the nearest one."""
        found = self.objects.get((kind, name))
        if found is None:
            raise NotFoundError(kind, name, self.of_kind(kind), where=where)
        assert isinstance(found, type_)
        return found

    def renamed(self, kind: str, name: str, new: str) -> Definitions:
        """The definitions with one of them, a dataclass, under another name; NotFoundError where it is not there."""
        found = replace(cast(Any, self.get(kind, name, object)), name=new)
        others = {key: one for key, one in self.objects.items() if key != (kind, name)}
        return Definitions({**others, (kind, new): found}, self.source)

    def specs(self) -> dict[str, dict[str, Any]]:
        """The spec of each definition under `kind:name`, in a stable order."""
        return {f"{kind}:{name}": d.spec() for (kind, name), d in sorted(self.objects.items())}


def spec_digest(definition: Definition) -> str:
    """What names this version of a definition: it changes when, and only when, its spec does."""
    return digest_data(definition.spec())


def load_definitions(paths: list[Path]) -> Definitions:
    """Run the definition files and collect what they declare; DefinitionError says the line at fault."""
    source = {}
    for path in paths:
        if not path.is_file():
            raise DefinitionError(
                f"there is no definitions file {path}",
                hint="carrara.toml names it under [workspace] definitions.",
            )
        source[path.name] = path.read_text()
    return _collect(source, {path.name: str(path) for path in paths})


def load_recorded_definitions(source: Mapping[str, str], label: str) -> Definitions:
    """Run definition source that was recorded with a model version, whatever the files say today."""
    return _collect(source, {name: f"<{label}/{name}>" for name in source})


def load_function(place: str, text: str, name: str) -> Any:
    """The function of that name in a file that was read elsewhere."""
    return getattr(_run(Path(place).name, text, place), name)


def _collect(source: Mapping[str, str], places: Mapping[str, str]) -> Definitions:
    objects: dict[tuple[str, str], Definition] = {}
    found_in: dict[tuple[str, str], str] = {}
    for name, text in source.items():
        for variable, definition in _declared(_run(name, text, places[name])):
            key = (definition.kind, definition.name)
            place = f"{variable} in {places[name]}"
            if key in objects and objects[key] is not definition:
                raise DuplicateDefinition(*key, [found_in[key], place])
            objects[key], found_in[key] = definition, place
    return Definitions(objects, dict(source))


def _declared(module: ModuleType) -> Iterator[tuple[str, Definition]]:
    for variable, value in vars(module).items():
        if not isinstance(value, type) and isinstance(value, Definition):
            yield variable, value


def _run(name: str, text: str, place: str) -> ModuleType:
    module = ModuleType(name.removesuffix(".py"))
    module.__file__ = place
    # inspect.getsource reads the text from here, also when no file has it any more.
    linecache.cache[place] = (len(text), None, text.splitlines(keepends=True), place)
    # dataclasses and pickling of a user's types look the module up by name while it runs.
    module.__name__ = f"carrara_definitions.{module.__name__}"
    sys.modules[module.__name__] = module
    try:
        exec(compile(text, place, "exec"), module.__dict__)
    except CarraraError as error:
        error.add_note(f"in {place}")
        raise
    except SyntaxError as error:
        raise DefinitionError(f"{place}, line {error.lineno}: {error.msg}") from error
    except Exception as error:
        line = next((f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == place), 0)
        what = f"{type(error).__name__}: {error}"
        raise DefinitionError(f"{place} does not import: line {line}: {what}") from error
    return module
