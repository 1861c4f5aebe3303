"""MLflow's tracking server over its REST API: what it says and takes, and the files of artifacts that it hands on.

api/2.0/mlflow/model-versions, registered-models, logged-models, runs, experiments
api/2.0/mlflow-artifacts/artifacts
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Self
from urllib.parse import quote, unquote, urlencode, urlsplit

from carrara.core.errors import DataError, NotFoundError, StorageError

_API = "/api/2.0/mlflow"
_ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
_SECONDS = 60.0
_MOST_FILES, _MOST_BYTES = 10_000, 64 << 30


@dataclass(frozen=True)
class TrackingServer:
    """Where a server is; `headers` say who asks. Redirects are not followed: they would take that elsewhere."""

    scheme: str
    host: str
    port: int | None
    path: str
    headers: Mapping[str, str]

    @classmethod
    def at(cls, address: str) -> Self:
        """The server at `http://…` or `https://…`; who asks is told as MLflow's own client tells it."""
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DataError(f"'{address}' is no address of a server", hint="Write http://HOST:PORT.")
        user = parts.username or os.environ.get("MLFLOW_TRACKING_USERNAME")
        password = parts.password or os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
        token = os.environ.get("MLFLOW_TRACKING_TOKEN")
        headers = {"User-Agent": "carrara"}
        if user:
            headers["Authorization"] = f"Basic {b64encode(f'{unquote(user)}:{unquote(password)}'.encode()).decode()}"
        elif token:
            headers["Authorization"] = f"Bearer {token}"
        return cls(parts.scheme, parts.hostname, parts.port, parts.path.rstrip("/"), headers)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}" + (f":{self.port}" if self.port else "")

    def ask(self, method: str, **query: str) -> Any:
        """What a method of the API answers; NotFoundError where there is no such thing."""
        return self._json(f"{_API}/{method}" + (f"?{urlencode(query)}" if query else ""))

    def tell(self, method: str, what: Mapping[str, Any]) -> Any:
        """As `ask`, of a method that changes what is there."""
        return self._json(f"{_API}/{method}", what)

    def upload(self, artifacts: str, name: str, path: Path) -> None:
        """Write a file below `mlflow-artifacts:/…`."""
        root = urlsplit(artifacts).path.strip("/")
        target = f"{_ARTIFACTS}/{quote(f'{root}/{name}')}"
        told = {"Content-Type": "application/octet-stream", "Content-Length": str(path.stat().st_size)}
        with path.open("rb") as file, self._answer(target, "PUT", file, told) as answer:
            answer.read()

    def download(self, artifacts: str, folder: Path) -> None:
        """Write all files below `mlflow-artifacts:/…` to a folder; DataError for a name that leads out of it."""
        root, waiting, files, size = urlsplit(artifacts).path.strip("/"), [""], 0, 0
        while waiting:
            place = waiting.pop()
            query = urlencode({"path": f"{root}/{place}".rstrip("/")})
            for one in self._json(f"{_ARTIFACTS}?{query}").get("files", ()):
                path = f"{place}/{_safe(str(one['path']))}".lstrip("/")
                files, size = files + 1, size + int(one.get("file_size") or 0)
                if files > _MOST_FILES or size > _MOST_BYTES:
                    raise DataError(f"a model of {self} has more than {_MOST_FILES:,} files, or is too large")
                if one.get("is_dir"):
                    waiting.append(path)
                else:
                    self._stream(f"{_ARTIFACTS}/{quote(f'{root}/{path}')}", folder / path)

    def _json(self, target: str, what: Mapping[str, Any] | None = None) -> Any:
        asked = self._answer(target)
        if what is not None:
            asked = self._answer(target, "POST", json.dumps(what).encode(), {"Content-Type": "application/json"})
        with asked as answer:
            try:
                found = json.load(answer)
            except ValueError as error:
                raise DataError(f"{self} is no tracking server of MLflow: {error}") from error
        if not isinstance(found, dict):
            raise DataError(f"{self} is no tracking server of MLflow: it answers {type(found).__name__}")
        return found

    def _stream(self, target: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._answer(target) as answer, path.open("wb") as file:
            shutil.copyfileobj(answer, file, 1 << 20)

    @contextmanager
    def _answer(
        self, target: str, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._connection()
        try:
            connection.request(method, self.path + target, body, {**self.headers, **(headers or {})})
            answer = connection.getresponse()
            if answer.status != 200:
                raise self._refused(answer)
            yield answer
        except (OSError, http.client.HTTPException) as error:
            raise StorageError(f"{self} does not answer: {error or type(error).__name__}") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self.scheme == "http":
            return http.client.HTTPConnection(self.host, self.port, timeout=_SECONDS)
        trusted = ssl.create_default_context(cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH"))
        return http.client.HTTPSConnection(self.host, self.port, timeout=_SECONDS, context=trusted)

    def _refused(self, answer: http.client.HTTPResponse) -> Exception:
        try:
            told = json.loads(answer.read(1 << 16))
        except ValueError:
            told = None
        said = str(told.get("message") if isinstance(told, dict) else answer.reason)[:300]
        # Of an alias that is not there MLflow says 400, of all else 404.
        if told is not None and (answer.status == 404 or "not found" in said):
            return NotFoundError("thing of MLflow", said, where=str(self))
        if answer.status in (401, 403):
            return StorageError(
                f"{self} does not let this user do that",
                hint="Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
            )
        return StorageError(f"{self} answered {answer.status}: {said}")


def _safe(path: str) -> str:
    """A name that a server tells of; DataError for one that leads elsewhere."""
    parts = PurePosixPath(path).parts
    if path.startswith("/") or ".." in parts or "\\" in path or "\0" in path or not parts:
        raise DataError(f"the server names a file '{path}', which is not below its model")
    return path
