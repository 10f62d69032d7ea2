"""ComfyUI's own queue: its page shows the runs that are queued here, its history keeps them, and Cancel ends them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ...lora_resolver import InvalidInput, StorageFailed, sentences
from ..server.failures import failures_of
from ..server.running import running_server
from .own_workflows import OWN_FOLDER

if TYPE_CHECKING:
    from .own_workflows import Workflow

LOOK_EVERY = 0.5
"""Seconds between checks if ComfyUI sends no event. It reports the end of each run to its pages, and to this module."""
_LISTENER = "air_lora_endpoint"
"""This module's name among the names of ComfyUI's pages."""


class RunFailed(Exception):
    """The run ended without a picture."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors
        """Each with code, message and perhaps parameter."""


async def enqueue(workflow: Workflow, own: str = "") -> str:
    """Passes a workflow to the handler of POST /prompt, as a request would, and returns the prompt's ID.

    `own` is the file name of the user's own workflow. Raises InvalidInput if ComfyUI rejects the workflow.
    """
    server = running_server()
    handler = next(
        (
            route.handler
            for route in server.routes
            if getattr(route, "method", "") == "POST" and getattr(route, "path", "") == "/prompt"
        ),
        None,
    )
    if handler is None:
        raise StorageFailed(
            "This version of ComfyUI has no queue for the task", code="noQueue", remedy="Update ComfyUI."
        )

    async def body() -> dict[str, Any]:
        return {"prompt": json.loads(json.dumps(workflow))}

    answer = await handler(SimpleNamespace(json=body, headers={}))
    said = json.loads(answer.body)
    if answer.status == 200:
        return str(said["prompt_id"])
    why = f"{own}: {_why(said)}" if own else _why(said)
    remedy = f"Fix user/{OWN_FOLDER}/{own}, and send the task again." if own else "Report this as a bug."
    raise InvalidInput(why, code="invalidWorkflow", parameter="model", remedy=remedy)


async def finished(prompt_id: str) -> dict[str, Any]:
    """Waits for the end of the run and returns its outputs by node. Raises RunFailed."""
    await _ends.of(prompt_id)
    queue = running_server().prompt_queue
    entry = queue.get_history(prompt_id=prompt_id).get(prompt_id)
    if entry is None:
        raise RunFailed(
            [{"code": "cancelled", "message": "The run was removed from ComfyUI's queue or history."}]
        )
    status = entry.get("status") or {}
    if status.get("status_str") == "success":
        outputs: dict[str, Any] = entry.get("outputs") or {}
        return outputs
    raise RunFailed(_errors_of(prompt_id, status))


class _Ends:
    """Checks ComfyUI's queue once for all waiting tasks: hundreds of tasks must not each read the queue."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Event] = {}
        self._looking: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def send_json(self, message: dict[str, Any]) -> None:
        """Acts as a page's socket: ComfyUI calls it for each event, and sends "status" when the queue has changed.

        Polling would cost more than everything else here, because each check takes a core from the sampler.
        """
        if message.get("type") == "status":
            self._changed.set()

    async def send_bytes(self, _message: bytes) -> None:
        """Ignores previews."""

    async def of(self, prompt_id: str) -> None:
        """Returns when the run is no longer in the queue, whether or not it is in the history."""
        event = self._waiting.setdefault(prompt_id, asyncio.Event())
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())
        await event.wait()

    async def _look(self) -> None:
        server = running_server()
        server.sockets[_LISTENER] = self
        try:
            while self._waiting:
                self._changed.clear()
                running, pending = server.prompt_queue.get_current_queue_volatile()
                there = {item[1] for item in (*running, *pending)}
                for prompt_id in [each for each in self._waiting if each not in there]:
                    self._waiting.pop(prompt_id).set()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), LOOK_EVERY)
        finally:
            server.sockets.pop(_LISTENER, None)


_ends = _Ends()


def take_out(prompt_ids: list[str]) -> None:
    """Removes the runs that haven't started from the queue."""
    queue = running_server().prompt_queue
    for prompt_id in prompt_ids:
        queue.delete_queue_item(lambda item, wanted=prompt_id: item[1] == wanted)


def _errors_of(prompt_id: str, status: dict[str, Any]) -> list[dict[str, Any]]:
    ours = failures_of(prompt_id)
    if ours:
        return [
            {
                "code": each["code"],
                "message": sentences(each["message"], each.get("remedy"), each.get("parameter")),
                **({"parameter": each["parameter"]} if each.get("parameter") else {}),
            }
            for each in ours
        ]
    for kind, facts in status.get("messages", ()):
        if kind == "execution_interrupted":
            return [{"code": "cancelled", "message": "The run was canceled in ComfyUI."}]
        if kind == "execution_error":
            said = " ".join(str(facts.get("exception_message", "")).split())[:1000]
            node = str(facts.get("node_type", ""))[:100]
            return [
                {"code": "inferenceError", "message": f"{node}: {said or facts.get('exception_type', '')}"}
            ]
    return [{"code": "inferenceError", "message": "The run failed. For details, see ComfyUI's log."}]


def _why(said: dict[str, Any]) -> str:
    """The first error in the prompt, in ComfyUI's words or ours."""
    for node in (said.get("node_errors") or {}).values():
        for error in node.get("errors", ()):
            text = " ".join(str(error.get("details") or error.get("message") or "").split())
            return f"{node.get('class_type', '')}: {text}"[:1000]
    error = said.get("error")
    reason = error.get("message") if isinstance(error, dict) else error
    return f"ComfyUI rejected the workflow: {reason}"[:1000]
