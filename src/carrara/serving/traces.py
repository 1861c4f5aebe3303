"""OpenTelemetry traces: a span for each request, from the transport to the features that were read and the model's run.

Requests only put what is known into a queue; a thread makes spans of it, and OpenTelemetry's own thread sends them.
Names follow the semantic conventions of HTTP and RPC.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carrara.core.errors import ConfigurationError
from carrara.core.plugins import require
from carrara.core.stages import Stage
from carrara.serving.access_log import Headers, Subject
from carrara.serving.outbox import Outbox

_FLUSH_SECONDS = 0.2
_MOST_WAITING = 20_000
_MOST_CHARACTERS = 256
_MOST_TOGETHER = 500
"""Requests of which spans are made at a time: a sampler that keeps more costs requests more than traces are worth."""

_PROTOCOL = "http/protobuf"
_NAMES = re.compile(r"(?<=/models/)[^/:]+|(?<=/versions/)\d+|(?<=/labels/)[^/:]+")
_PEER = re.compile(r"(?:ipv[46]:)?(?:\[|%5B)?(.*?)(?:\]|%5D)?:(\d+)")
_FAULTS = ("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS")
"""The codes that are a server's errors, as the conventions have it."""


@dataclass(frozen=True)
class _Ended:
    """A request: its span's name and attributes, what its client sent of its own trace, and when it was (ns)."""

    name: str
    about: Mapping[str, Any]
    carried: Mapping[str, str]
    began: int
    ended: int
    error: str
    run: Stage | None


class Traces:
    """Makes spans of requests by a tracer provider of OpenTelemetry's SDK, whose sampler chooses them."""

    def __init__(self, provider: Any, scheme: str = "http") -> None:
        trace = require("opentelemetry.trace", extra="otel", purpose="traces")
        propagation = require("opentelemetry.trace.propagation.tracecontext", extra="otel", purpose="traces")
        self._trace, self._provider, self._scheme = trace, provider, scheme
        self._tracer = provider.get_tracer("carrara.serving")
        self._context = propagation.TraceContextTextMapPropagator()
        self._outbox = Outbox(
            "traces",
            self._deliver,
            most=_MOST_WAITING,
            seconds=_FLUSH_SECONDS,
            told="%d requests were not traced, since there are too many: sample fewer",
        )

    def ended(
        self,
        began: float,
        protocol: str,
        method: str,
        status: int | str,
        headers: Headers,
        client: str,
        *,
        path: str = "",
        subject: Subject | None = None,
    ) -> None:
        """Take a request that began at `began` of `time.perf_counter` and has ended now. Thread-safe."""
        end = time.time_ns()
        start = end - int((time.perf_counter() - began) * 1e9)
        carried = {name: str(headers.get(name) or "") for name in ("traceparent", "tracestate")}
        if protocol == "HTTP":
            name, about, error = _http(method, path[:_MOST_CHARACTERS], int(status), subject)
            about["url.scheme"] = self._scheme
        else:
            name, about, error = _rpc(method, str(status))
        if (peer := _PEER.fullmatch(client)) is not None:
            about |= {"client.address": peer[1], "client.port": int(peer[2])}
        if subject is not None:
            about |= {"carrara.endpoint": subject.endpoint, "carrara.rows": subject.rows or 0}
        run = None if subject is None else subject.run
        self._outbox.put(_Ended(name, about, carried, start, end, error, run))

    def close(self) -> None:
        """Send what waits."""
        self._outbox.close()
        self._provider.shutdown()

    def _deliver(self, requests: list[_Ended]) -> int:
        made = lost = 0
        for one in requests:
            if made >= _MOST_TOGETHER:
                lost += 1
            else:
                made += self._tell(one)
        return lost

    def _tell(self, one: _Ended) -> bool:
        """Make the spans of a request, if it is sampled."""
        context = self._context.extract(one.carried) if one.carried["traceparent"] else None
        kind = self._trace.SpanKind.SERVER
        span = self._tracer.start_span(one.name, context, kind, attributes=one.about, start_time=one.began)
        if not span.is_recording():
            return False
        if one.run is not None:
            self._tell_stage(one.run, self._trace.set_span_in_context(span))
        if one.error:
            span.set_attribute("error.type", one.error)
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(one.ended)
        return True

    def _tell_stage(self, stage: Stage, context: Any) -> None:
        about = {f"carrara.{name}": value for name, value in stage.about.items()}
        span = self._tracer.start_span(stage.name, context, attributes=about, start_time=stage.began)
        for part in stage.parts:
            self._tell_stage(part, self._trace.set_span_in_context(span))
        if stage.error:
            span.set_attribute("error.type", stage.error)
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(stage.ended)


def open_traces(scheme: str = "http", environment: Mapping[str, str] = os.environ) -> Traces | None:
    """Traces as the standard OTEL_* variables say, or None where they name no receiver.

    Whatever they say besides (sampler, headers, limits, resource) is OpenTelemetry's SDK's own. ConfigurationError for
    an exporter or a protocol that is not here.
    """
    if not _is_wanted(environment):
        return None
    sdk = require("opentelemetry.sdk.trace", extra="otel", purpose="traces")
    export = require("opentelemetry.sdk.trace.export", extra="otel", purpose="traces")
    resources = require("opentelemetry.sdk.resources", extra="otel", purpose="traces")
    otlp = require("opentelemetry.exporter.otlp.proto.http.trace_exporter", extra="otel", purpose="traces over OTLP")
    named = {} if "OTEL_SERVICE_NAME" in environment else {"service.name": "carrara"}
    provider = sdk.TracerProvider(
        resource=resources.Resource.create(named | {"process.pid": os.getpid()}), shutdown_on_exit=False
    )
    provider.add_span_processor(export.BatchSpanProcessor(otlp.OTLPSpanExporter()))
    return Traces(provider, scheme)


def _is_wanted(environment: Mapping[str, str]) -> bool:
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip()
    endpoints = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter == "none":
        return False
    if exporter not in ("", "otlp"):
        raise ConfigurationError(f"OTEL_TRACES_EXPORTER is '{exporter}'", hint="Traces go to 'otlp', or 'none'.")
    if not exporter and not any(environment.get(name, "").strip() for name in endpoints):
        return False
    protocols = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((environment[name] for name in protocols if environment.get(name)), _PROTOCOL)
    if protocol != _PROTOCOL:
        raise ConfigurationError(
            f"traces are not sent by '{protocol}'",
            hint=f"Set OTEL_EXPORTER_OTLP_PROTOCOL={_PROTOCOL}; receivers have it on port 4318.",
        )
    return True


def _rpc(method: str, status: str) -> tuple[str, dict[str, Any], str]:
    name = method.removeprefix("/")
    about = {"rpc.system.name": "grpc", "rpc.method": name, "rpc.response.status_code": status}
    return name, about, status if status in _FAULTS else ""


def _http(method: str, path: str, status: int, subject: Subject | None) -> tuple[str, dict[str, Any], str]:
    about: dict[str, Any] = {
        "http.request.method": method,
        "url.path": path,
        "http.response.status_code": status,
    }
    # A path that nothing answers is no route: there is no end to them.
    if subject is not None or status not in (404, 405):
        about["http.route"] = _NAMES.sub(_placeholder, path)
    name = f"{method} {about['http.route']}" if "http.route" in about else method
    return name, about, str(status) if status >= 500 else ""


def _placeholder(found: re.Match[str]) -> str:
    return {"models/": "{model}", "rsions/": "{version}", "labels/": "{label}"}[
        found.string[found.start() - 7 : found.start()]
    ]
