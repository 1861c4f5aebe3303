"""/v1/models/NAME:outcomes: what then happened, from those who know it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from carrara.core.errors import RequestError
from carrara.serving.protocols.http import HttpRequest, Reply, Route, as_mapping, json_reply
from carrara.serving.protocols.json_tensors import decode_json
from carrara.serving.protocols.problem import problem

Take = Callable[[str, list[dict[str, Any]]], Mapping[str, int]]
"""Keeps outcomes of a model, and says what became of them; see `monitoring.outcomes.add_outcomes`."""

MOST_ROWS = 100_000


def routes(take: Take | None) -> list[Route]:
    """Nothing for a server without a workspace: it has nowhere to keep them."""
    if take is None:
        return []

    def answer(request: HttpRequest, found: re.Match[str]) -> Reply:
        rows = as_mapping(decode_json(request.body), "the body").get("outcomes")
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise RequestError("'outcomes' must be a list of objects, each with an outcome", field="outcomes")
        if len(rows) > MOST_ROWS:
            raise RequestError(f"'outcomes' has {len(rows):,} rows, and {MOST_ROWS:,} are taken", field="outcomes")
        return json_reply(dict(take(unquote(found[1]), rows)))

    return [Route("POST", re.compile("/v1/models/([^/:]+):outcomes"), answer, problem)]
