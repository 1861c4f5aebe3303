"""The definitions of an imported model: written at the import, and recorded with the version as those of any other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carrara.evaluation.metrics import Kind
from carrara.training.imports.base import INPUTS

OUTCOME, EVENT_TIME = "outcome", "event_time"
"""The columns of outcomes where no dataset has them."""


@dataclass(frozen=True)
class Judged:
    """By what an imported model is judged: a dataset with its inputs, the label and the time; and by which slices.

    Without a dataset it is not measured; outcomes that are handed in later are.
    """

    dataset: str = ""
    label: str = OUTCOME
    time: str = EVENT_TIME
    known_at: str | None = None
    slices: tuple[str, ...] = ()


def definitions_text(
    name: str, flavor: str, fields: Mapping[str, str], parameters: Mapping[str, Any], kind: Kind, judged: Judged
) -> str:
    """The text of a definitions file: a view whose features are the fields of the request, and the model."""
    known = f", known_at={_text(judged.known_at)}" if judged.known_at else ""
    label = f"{_text(judged.dataset)}, {_text(judged.label)}, time={_text(judged.time)}{known}, kind={_text(kind)}"
    slices = "".join(f"{_text(one)}, " for one in judged.slices)
    return "\n".join(
        [
            f'"""{name}, imported from MLflow: what it takes is what a request tells."""\n',
            "import carrara\n",
            *_block("FIELDS", fields),
            *_block("PARAMETERS", parameters),
            "\n",
            "@carrara.on_demand_view(request=FIELDS, features=FIELDS)",
            f"def {INPUTS}(**columns):",
            '    """What the request tells, as it is."""',
            "    return columns",
            "\n",
            "model = carrara.Model(",
            f"    {_text(name)},",
            f"    features=({_text(INPUTS)},),",
            f"    label=carrara.Label({label}),",
            "    split=carrara.NoSplit(),",
            f'    trainer=carrara.Imported("mlflow", {_text(flavor)}, PARAMETERS),',
            *([f"    slices=({slices.strip()}),"] if slices else []),
            "    gates=(carrara.safe_to_serve(),),",
            ")\n",
        ]
    )


def _block(name: str, entries: Mapping[str, Any]) -> list[str]:
    return [f"{name} = {{", *(f"    {_text(key)}: {_text(value)}," for key, value in entries.items()), "}"]


def _text(value: Any) -> str:
    """A text, number or boolean as Python writes it."""
    return json.dumps(value) if isinstance(value, str) else repr(value)
