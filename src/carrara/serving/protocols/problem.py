"""Errors of HTTP as RFC 9457's problems; `error` is there for clients of the Open Inference Protocol."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from carrara.core.errors import CarraraError
from carrara.serving.protocols.http import Reply
from carrara.serving.protocols.status import HTTP_STATUS, retry_headers, status_of

PROBLEM = "application/problem+json"


def problem(error: Exception) -> Reply:
    """An error as a problem, with the field at fault where there is one."""
    code, text = status_of(error)
    field = getattr(error, "field", "") if isinstance(error, CarraraError) else ""
    return problem_of(HTTP_STATUS[code], text, field=field, headers=retry_headers(code))


def problem_of(status: int, detail: str, *, field: str = "", headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    body |= {"error": detail, **({"field": field} if field else {})}
    return Reply(status, msgspec.json.encode(body), PROBLEM, headers)
