"""Names that people give: of models, aliases, tags. One rule for all of them."""

from __future__ import annotations

import unicodedata

from carrara.core.errors import CarraraError

_RESERVED = set("/\\@:\"'`<>|?*")
MOST_CHARACTERS = 100


def check_name(kind: str, name: str) -> str:
    """The name, if it can be written in an address and as a file's name everywhere; CarraraError says why not.

    >>> check_name("model", "late_arrival")
    'late_arrival'
    >>> check_name("alias", "../champion")
    Traceback (most recent call last):
    carrara.core.errors.CarraraError: '../champion' cannot be the name of an alias: it begins with a dot
      Use letters, digits, -, _ and dots, at most 100 of them.
    """
    wrong = _wrong(name)
    if wrong:
        shown = ascii(name if len(name) <= 60 else name[:60] + "…") if not name.isprintable() else f"'{name[:60]}'"
        article = "an" if kind[0] in "aeiou" else "a"
        raise CarraraError(
            f"{shown} cannot be the name of {article} {kind}: {wrong}",
            hint=f"Use letters, digits, -, _ and dots, at most {MOST_CHARACTERS} of them.",
        )
    return name


def _wrong(name: str) -> str:
    if not name:
        return "it is empty"
    if len(name) > MOST_CHARACTERS:
        return f"it has {len(name):,} characters"
    # Control characters, and those that turn the direction of writing or cannot be seen.
    hidden = next((letter for letter in name if unicodedata.category(letter)[0] == "C"), None)
    if hidden is not None:
        return f"it holds the invisible character U+{ord(hidden):04X}"
    if name[0] == ".":
        return "it begins with a dot"
    if name != name.strip():
        return "it begins or ends with a space"
    reserved = next((letter for letter in name if letter in _RESERVED), None)
    return f"it holds {reserved}" if reserved else ""
