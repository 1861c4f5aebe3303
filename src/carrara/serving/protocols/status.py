"""Errors as gRPC status codes and HTTP statuses, with the messages that TensorFlow Serving's clients know."""

from __future__ import annotations

from carrara.core.errors import (
    AccessError,
    CarraraError,
    ConfigurationError,
    DataError,
    DeadlinePassed,
    NotFoundError,
    Overloaded,
    RequestError,
    Unauthenticated,
    UnavailableError,
)

INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, RESOURCE_EXHAUSTED = 3, 4, 5, 8
PERMISSION_DENIED, FAILED_PRECONDITION, INTERNAL, UNAVAILABLE, UNAUTHENTICATED = 7, 9, 13, 14, 16

HTTP_STATUS = {
    INVALID_ARGUMENT: 400,
    DEADLINE_EXCEEDED: 504,
    NOT_FOUND: 404,
    PERMISSION_DENIED: 403,
    RESOURCE_EXHAUSTED: 429,
    FAILED_PRECONDITION: 400,
    INTERNAL: 500,
    UNAVAILABLE: 503,
    UNAUTHENTICATED: 401,
}

RETRY_SECONDS = 1
"""After which a client that was refused at overload may ask again."""


_NOT_FOUND = {
    "endpoint": "Servable not found for request: Latest({})",
    "version": "Servable not found for request: Specific({})",
    "status": "Could not find {}",
}


def status_of(error: Exception) -> tuple[int, str]:
    """The gRPC status code and message of an error; what is not Carrara's own is INTERNAL, without its text."""
    if isinstance(error, NotFoundError) and error.kind in _NOT_FOUND:
        return NOT_FOUND, _sentence(_NOT_FOUND[error.kind].format(error.name), error.hint)
    if isinstance(error, NotFoundError) and error.kind == "signature":
        return FAILED_PRECONDITION, f'Serving signature key "{error.name}" not found. {error.hint}'
    if isinstance(error, NotFoundError):
        return NOT_FOUND, _sentence(error.message, error.hint)
    if isinstance(error, RequestError | DataError):
        return INVALID_ARGUMENT, _sentence(error.message, error.hint)
    if isinstance(error, ConfigurationError):
        return FAILED_PRECONDITION, _sentence(error.message, error.hint)
    if isinstance(error, Overloaded):
        return RESOURCE_EXHAUSTED, _sentence(error.message, error.hint)
    if isinstance(error, DeadlinePassed):
        return DEADLINE_EXCEEDED, error.message
    if isinstance(error, UnavailableError):
        return UNAVAILABLE, _sentence(error.message, error.hint)
    if isinstance(error, AccessError):
        code = UNAUTHENTICATED if isinstance(error, Unauthenticated) else PERMISSION_DENIED
        return code, _sentence(error.message, error.hint)
    if isinstance(error, CarraraError):
        return INTERNAL, error.message
    return INTERNAL, "internal error; the server's log has it"


def retry_headers(code: int) -> tuple[tuple[str, str], ...]:
    """What tells a client of HTTP when to ask again."""
    return (("retry-after", str(RETRY_SECONDS)),) if code == RESOURCE_EXHAUSTED else ()


def _sentence(message: str, hint: str) -> str:
    return f"{message.removesuffix('.')}. {hint}" if hint else message
