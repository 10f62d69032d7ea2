"""A response that takes minutes: its headers are sent before clients time out."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from air_lora_pack.nodes.endpoint.long_answers import answered

if TYPE_CHECKING:
    from collections.abc import Awaitable


def test_headers_go_before_a_client_gives_up() -> None:
    async def made(headers_are_here: asyncio.Event) -> tuple[str, int]:
        if not headers_are_here.is_set():
            await asyncio.wait_for(headers_are_here.wait(), 120)
        return json.dumps({"data": [{"seed": 1}]}), 400

    async def ask(*, soon: bool) -> tuple[int, Any]:
        """Status and content of an answer that is made at once, or only after its headers have arrived."""
        headers_are_here = asyncio.Event()
        if soon:
            headers_are_here.set()

        async def handler(request: web.Request) -> web.StreamResponse:
            work: Awaitable[tuple[str, int]] = made(headers_are_here)
            return await answered(request, work, patience=0.2, between=0.05)

        app = web.Application()
        app.router.add_get("/", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/") as answer:
            headers_are_here.set()
            said = await answer.json()
        await runner.cleanup()
        return answer.status, said

    status, said = asyncio.run(ask(soon=True))
    assert (status, said["data"]) == (400, [{"seed": 1}])
    status, said = asyncio.run(ask(soon=False))
    assert (status, said["data"]) == (200, [{"seed": 1}])
