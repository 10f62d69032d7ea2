"""Answers that take minutes: clients give up after five minutes without headers, so the headers are sent earlier.

Until then, the status reports how the tasks ended. After that, the status is 200, and only the body reports it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable

HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
PATIENCE = 120.0
"""Seconds until the headers are sent, whatever the outcome. Node's fetch gives up after 300."""
BETWEEN = 30.0
"""Seconds between two spaces, which JSON allows before its first brace."""


async def answered(
    request: web.Request,
    answer: Awaitable[tuple[str, int]],
    *,
    patience: float = PATIENCE,
    between: float = BETWEEN,
) -> web.StreamResponse:
    """A response with this JSON and status, or one that is held open until the JSON is ready."""
    made = asyncio.ensure_future(answer)
    done, _ = await asyncio.wait({made}, timeout=patience)
    if done:
        text, status = made.result()
        return web.Response(text=text, status=status, content_type="application/json", headers=HEADERS)
    held = web.StreamResponse(headers={**HEADERS, "Content-Type": "application/json; charset=utf-8"})
    await held.prepare(request)
    while not done:
        await held.write(b" ")
        done, _ = await asyncio.wait({made}, timeout=between)
    await held.write(made.result()[0].encode())
    await held.write_eof()
    return held
