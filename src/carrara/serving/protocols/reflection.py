"""gRPC's reflection protocol, versions 1 and 1alpha: which services are here, and what their messages are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from carrara.serving.protocols.messages import descriptor_pool, message, services
from carrara.serving.transports.base import Stream

PACKAGES = ("grpc.reflection.v1", "grpc.reflection.v1alpha")

_NOT_FOUND, _UNIMPLEMENTED = 5, 12


def answerer(package: str) -> Stream:
    """The stream of answers to a stream of requests of a version of the protocol."""

    def answers(requests: Iterable[bytes], there: Callable[[], bool]) -> Iterator[bytes]:
        for data in requests:
            request = message(f"{package}.ServerReflectionRequest").FromString(data)
            response = message(f"{package}.ServerReflectionResponse")(valid_host=request.host)
            response.original_request.CopyFrom(request)
            _fill(request, response)
            yield response.SerializeToString()

    return answers


def _fill(request: Any, response: Any) -> None:
    kind = request.WhichOneof("message_request")
    try:
        if kind == "list_services":
            for name in services():
                response.list_services_response.service.add(name=name)
        elif kind == "file_by_filename":
            _add_files(response, descriptor_pool().FindFileByName(request.file_by_filename))
        elif kind == "file_containing_symbol":
            _add_files(response, descriptor_pool().FindFileContainingSymbol(request.file_containing_symbol))
        elif kind == "all_extension_numbers_of_type":
            descriptor_pool().FindMessageTypeByName(request.all_extension_numbers_of_type)
            response.all_extension_numbers_response.base_type_name = request.all_extension_numbers_of_type
        else:
            _fail(response, _UNIMPLEMENTED, f"{kind} is not answered: there are no extensions")
    except KeyError as error:
        _fail(response, _NOT_FOUND, f"not found: {error}")


def _add_files(response: Any, file: Any, seen: set[str] | None = None) -> None:
    """A file and all that it needs, each once."""
    seen = set() if seen is None else seen
    if file.name in seen:
        return
    seen.add(file.name)
    for needed in file.dependencies:
        _add_files(response, needed, seen)
    response.file_descriptor_response.file_descriptor_proto.append(file.serialized_pb)


def _fail(response: Any, code: int, text: str) -> None:
    response.error_response.error_code, response.error_response.error_message = code, text
