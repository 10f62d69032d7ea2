"""GET /air_lora/failures, and the event `air_lora.failures`: why a run of this server failed, for programs.

ComfyUI's `execution_error` has only one text, for people. For the latest runs, this module stores by prompt ID what a
program needs: code, place, and facts.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from comfy_execution.utils import get_executing_context

from ...lora_resolver import LoraResolverError
from .running import running_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

_P = ParamSpec("_P")
_T = TypeVar("_T")

EVENT = "air_lora.failures"
MOST_RUNS = 200
MOST_ERRORS = 100
"""For one node. The message says how many more there are."""

_failures: OrderedDict[str, dict[str, Any]] = OrderedDict()
_lock = Lock()


def tells_programs(execute: Callable[_P, _T]) -> Callable[_P, _T]:
    """Wraps a node's `execute`: stores the facts of the pack's errors, and raises them again for people to read."""

    @functools.wraps(execute)
    def telling(*arguments: _P.args, **options: _P.kwargs) -> _T:
        try:
            return execute(*arguments, **options)
        except LoraResolverError as error:
            context = get_executing_context()
            if context is not None:
                _keep(context.prompt_id, context.node_id, error)
            raise error.counted() from error.__cause__

    return telling


def _keep(prompt_id: str, node_id: str, error: LoraResolverError) -> None:
    from .routes.items import error_facts  # late: must not slow down ComfyUI's start

    failure = {
        "prompt_id": prompt_id,
        "node": node_id,
        "errors": [
            {**error_facts(each), "facts": getattr(each, "facts", {})} for each in error.each()[:MOST_ERRORS]
        ],
    }
    with _lock:
        _failures[prompt_id] = failure
        while len(_failures) > MOST_RUNS:
            _failures.popitem(last=False)
    server = running_server()
    if server is not None:
        server.send_sync(EVENT, failure)


def failures_of(prompt_id: str) -> list[dict[str, Any]]:
    """The errors of that run: code, parameter, message, remedy, facts. Empty if no node of this pack failed."""
    with _lock:
        errors: list[dict[str, Any]] = _failures.get(prompt_id, {}).get("errors", [])
    return errors


async def failures(request: web.Request) -> dict[str, Any]:
    """?prompt_id → {prompt_id, node, errors: [{code, parameter, message, remedy, facts}]}; no errors if unknown."""
    prompt_id = request.query.get("prompt_id", "")
    with _lock:
        return _failures.get(prompt_id) or {"prompt_id": prompt_id[:100], "node": None, "errors": []}
