"""A worker: a Ray Serve replica that has one ComfyUI, and sends tasks to its endpoint."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
from ray import serve

from lora_resolver import failed

from .comfyui import ENDPOINT, Comfyui, Launch
from .keys import LEVELS, keys_of

KEPT_ARRAYS = 4
"""Arrays that a worker counts as loaded. The pack keeps up to AIR_LORA_KEPT_BYTES: 2 GiB are about ten LoRAs for
SDXL.
"""
PING_SECONDS = 5.0
HERE = "fleet:"
"""A placeholder in URLs. The front door replaces it with the address that the client uses."""


class WorkerLost(Exception):
    """The worker's ComfyUI was lost. Another worker can take its task, and doesn't repeat finished images."""


@dataclass
class _Kept:
    """Represents something that is loaded. Ray Serve deletes the least recently used ones."""

    key: str
    known: set[str]

    def __del__(self) -> None:
        self.known.discard(self.key)


class Worker:
    """Made into a deployment by `fleet.serving`, which sets the number of workers."""

    def __init__(self, launch: Launch, hang_seconds: float, cores: int | None = None) -> None:
        self._comfyui = Comfyui(launch, cores)
        self._hang_seconds = hang_seconds
        self._answered = time.monotonic()
        self._known: set[str] = set()
        self._name = serve.get_replica_context().replica_id.unique_id
        self._session: aiohttp.ClientSession | None = None

    async def check_health(self) -> None:
        """Ray Serve calls this about once a second, and replaces the worker if it raises an error."""
        if not self._comfyui.is_running():
            raise WorkerLost(f"ComfyUI exited. The end of its log:\n{self._comfyui.last_words()}")
        if await asyncio.to_thread(self._comfyui.answers, PING_SECONDS):
            self._answered = time.monotonic()
        elif time.monotonic() - self._answered > self._hang_seconds:
            await asyncio.to_thread(self._comfyui.stop)
            raise WorkerLost(f"ComfyUI hasn't responded for {self._hang_seconds:g} seconds.")

    @serve.multiplexed(max_num_models_per_replica=2 * KEPT_ARRAYS + 2)
    async def _loaded(self, key: str) -> _Kept:
        self._known.add(key)
        return _Kept(key, self._known)

    async def image(self, task: dict[str, Any]) -> dict[str, Any]:
        """The answer to an image task, with a note of what was already loaded. Raises WorkerLost."""
        keys = keys_of(task)
        kept = next((level for level, key in zip(LEVELS, keys) if key in self._known), "nothing")
        for key in reversed(keys):  # before it runs, so that similar tasks come here in the meantime
            await self._loaded(key)
        said = await self.other(task)
        for item in said.get("data", []):
            item["worker"] = {"name": self._name, "kept": kept}
        if not said.get("data"):  # rejected before anything was loaded
            self._known.difference_update(keys if kept == "nothing" else ())
        return said

    async def other(self, task: dict[str, Any]) -> dict[str, Any]:
        """The answer of ComfyUI's endpoint, with URLs that start with HERE. Raises WorkerLost."""
        try:
            async with self._open().post(self._comfyui.url + ENDPOINT, json=[task]) as answer:
                content = await answer.read()
        except aiohttp.ClientError as error:
            raise WorkerLost(f"{type(error).__name__}: {error}") from None
        try:
            said: dict[str, Any] = json.loads(content)
        except ValueError:
            text = content[:300].decode("utf-8", "replace")
            return failed(
                task, "inferenceError", f"ComfyUI returned status {answer.status}: {text}"
            ).as_dict()
        for item in said.get("data", []):
            for name, value in item.items():
                if name.endswith("URL") and isinstance(value, str):
                    item[name] = value.replace(self._comfyui.url + ENDPOINT, HERE, 1)
        said.pop("error", None)
        return said

    async def resume(self, task: dict[str, Any]) -> dict[str, Any]:
        """The answer to a getResponse, once its task is finished. The task may be a saved one. Raises WorkerLost."""
        while True:
            said = await self.other(task)
            if all(item.get("status") != "processing" for item in said.get("data", [])):
                return said
            await asyncio.sleep(0.25)

    async def result(self, name: str, query: str) -> tuple[int, str, bytes]:
        """Status, type, and content of a result's picture. All workers share one output folder."""
        address = f"{self._comfyui.url}{ENDPOINT}/results/{name}"
        try:
            async with self._open().get(f"{address}?{query}" if query else address) as answer:
                return answer.status, answer.content_type, await answer.read()
        except aiohttp.ClientError as error:
            raise WorkerLost(f"{type(error).__name__}: {error}") from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
            self._session = aiohttp.ClientSession(timeout=timeout, read_bufsize=2**20)
        return self._session
