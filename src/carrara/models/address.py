"""Addresses of model versions: `late_arrival@3`, `late_arrival@champion`, `late_arrival` for the newest.

Two words stand for a version without anybody pointing them: `@latest`, and `@blessed` for the newest that may live.
"""

from __future__ import annotations

from dataclasses import dataclass

from carrara.core.errors import CarraraError
from carrara.core.names import check_name

LATEST, BLESSED = "latest", "blessed"


@dataclass(frozen=True)
class ModelAddress:
    """A model, and a version number or an alias, or neither for the newest version."""

    model: str
    version: int | None = None
    alias: str | None = None

    def __str__(self) -> str:
        selector = self.alias or self.version
        return f"{self.model}@{selector}" if selector is not None else self.model


def parse_address(text: str) -> ModelAddress:
    """The address that a text stands for; MLflow's `models:/NAME/3` and `models:/NAME@ALIAS` as well.

    >>> parse_address("late_arrival@3")
    ModelAddress(model='late_arrival', version=3, alias=None)
    >>> parse_address("models:/late_arrival@champion")
    ModelAddress(model='late_arrival', version=None, alias='champion')
    """
    rest = text.removeprefix("models:/")
    if rest != text and "@" not in rest:
        rest = rest.replace("/", "@", 1)  # as in models:/NAME/3 and models:/NAME/latest
    model, separator, selector = rest.partition("@")
    if not model or (separator and not selector):
        raise CarraraError(f"'{text}' is not the address of a model", hint="Write NAME, NAME@3 or NAME@ALIAS.")
    if not separator:
        return ModelAddress(model)
    if selector.isascii() and selector.isdigit() and len(selector) < 10:
        return ModelAddress(model, version=int(selector))
    return ModelAddress(model, alias=selector)


def check_alias(alias: str) -> str:
    """The alias, if it can be told from a version's number, and from the words that nobody points."""
    if alias.isdigit():
        raise CarraraError(f"'{alias}' cannot be an alias: NAME@{alias} is a version", hint="Use a word.")
    if alias in (LATEST, BLESSED):
        raise CarraraError(f"'{alias}' cannot be pointed: NAME@{alias} is found by itself", hint="Use another word.")
    return check_name("alias", alias)
