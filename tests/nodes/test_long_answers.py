"""A response that takes minutes: its headers are sent before clients time out."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from air_lora_pack.nodes.endpoint.long_answers import answered

if TYPE_CHECKING:
    from collections.abc import Awaitable


def test_headers_go_before_a_client_gives_up() -> None:
    async def made(after: float) -> tuple[str, int]:
        await asyncio.sleep(after)
        return json.dumps({"data": [{"seed": 1}]}), 400

    async def ask(after: float) -> tuple[int, float, Any]:
        async def handler(request: web.Request) -> web.StreamResponse:
            work: Awaitable[tuple[str, int]] = made(after)
            return await answered(request, work, patience=0.2, between=0.05)

        app = web.Application()
        app.router.add_get("/", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        began = time.monotonic()
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as answer:
            headers_after = time.monotonic() - began
            said = await answer.json()
        await runner.cleanup()
        return answer.status, headers_after, said

    status, _, said = asyncio.run(ask(0.0))
    assert (status, said["data"]) == (400, [{"seed": 1}])
    status, headers_after, said = asyncio.run(ask(1.0))
    assert (status, said["data"]) == (200, [{"seed": 1}])
    assert headers_after < 0.9
