"""Live parts of pages: a stream of server-sent events that tells a browser when what a page shows has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from hashlib import sha256

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from carrara.core.errors import CarraraError

_SECONDS = 1.5


def stream(look: Callable[[], bytes], headers: dict[str, str]) -> StreamingResponse:
    """An event with a digest whenever what `look` sees is another; the browser then loads the page anew.

    The stream ends when `look` raises: when the token was revoked, or the object is no more.
    """

    async def told() -> AsyncIterator[bytes]:
        seen = ""
        while True:
            try:
                digest = sha256(await run_in_threadpool(look)).hexdigest()[:16]
            except CarraraError:
                return
            # A comment line in between tells a closed connection from a quiet one.
            yield f"data: {digest}\n\n".encode() if digest != seen else b": quiet\n\n"
            seen = digest
            await asyncio.sleep(_SECONDS)

    return StreamingResponse(told(), headers=headers, media_type="text/event-stream")
