"""Shows the progress of a sweep on its node.

ComfyUI first patches all models of the list, then samples them one by one. Each model that Apply LoRA Array makes from
a sweep's arrays reports when its sampling starts and ends.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any

from comfy_execution.utils import get_executing_context

from .running import running_server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SWEEP = "AirLoraSweep"
_KEY = "air_lora_sweep"
_MOST_KEPT = 200
_LONGEST = 100

_log = logging.getLogger(__name__)


class Sweeps:
    """The labels of each sweep's pictures, from its last run."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._labels: OrderedDict[str, Sequence[str]] = OrderedDict()

    def remember(self, node_id: str, labels: Sequence[str]) -> None:
        """Stores the labels. Called when the sweep runs."""
        with self._lock:
            self._labels[node_id] = labels
            self._labels.move_to_end(node_id)
            while len(self._labels) > _MOST_KEPT:
                self._labels.popitem(last=False)

    def labels(self, node_id: str) -> Sequence[str]:
        """The labels of this sweep; empty if it never ran."""
        with self._lock:
            return self._labels.get(node_id, ())


sweeps = Sweeps()


def watched_by_sweep(model: Any, hidden: Any) -> Any:
    """The model, or a clone of it that reports its progress to the sweep upstream of this node.

    `hidden` are the node's hidden inputs. Call this function while the node runs.
    """
    workflow, context = hidden.prompt, get_executing_context()
    number = context.list_index if context is not None else None
    sweep = _sweep_before(workflow, str(hidden.unique_id)) if isinstance(workflow, dict) else None
    if sweep is None or number is None:
        return model
    labels = sweeps.labels(sweep)
    if not len(labels) > 1 or number >= len(labels):
        return model
    from comfy.patcher_extension import WrappersMP

    # If no LoRA is on, `model` is the checkpoint's own object. Only a clone may get the wrapper.
    watched = model.clone()
    watched.remove_wrappers_with_key(WrappersMP.OUTER_SAMPLE, _KEY)
    watched.add_wrapper_with_key(WrappersMP.OUTER_SAMPLE, _KEY, _telling(sweep, number, labels))
    return watched


def _telling(sweep: str, number: int, labels: Sequence[str]) -> Callable[..., Any]:
    def sampled(executor: Any, *args: Any, **kwargs: Any) -> Any:
        _tell(sweep, number, len(labels), f"Image {number + 1} of {len(labels)}: {labels[number]}")
        result = executor(*args, **kwargs)
        done = number + 1
        images = "1 image" if len(labels) == 1 else f"{len(labels)} images"
        _tell(sweep, done, len(labels), images if done == len(labels) else "")
        return result

    return sampled


def _tell(sweep: str, done: int, total: int, text: str) -> None:
    """Shows the progress. An error here doesn't stop the sampling."""
    try:
        _show(sweep, done, total, text)
    except Exception as error:  # another pack's handler may raise anything
        _log.debug("[AIR LoRA] Couldn't show the progress of a sweep: %s", error)


def _show(sweep: str, done: int, total: int, text: str) -> None:
    from comfy_execution.progress import get_progress_state

    registry = get_progress_state()
    node = getattr(registry.dynprompt, "original_prompt", {}).get(sweep)
    if not isinstance(node, dict) or node.get("class_type") != SWEEP:
        return  # the model is used in another workflow
    shown = registry.nodes.get(sweep, {})
    if shown.get("max") == total and shown.get("value", 0) > done:
        return  # a second pass over pictures that were already reported
    if done == total:
        registry.finish_progress(sweep)
    else:
        registry.update_progress(sweep, done, total, None)
    server = running_server()
    client = getattr(server, "client_id", None)
    if text and client is not None:  # only to the client that runs it: for others, the ID is another node's
        server.send_progress_text(" ".join(text.split())[:_LONGEST], sweep, client)


def _sweep_before(workflow: Mapping[str, Any], node_id: str) -> str | None:
    """The ID of the sweep whose arrays reach this node's `lora`, directly or through nodes that pass them on."""
    seen: set[str] = set()
    waiting = [node_id]
    while waiting:
        current = waiting.pop()
        node = workflow.get(current)
        if current in seen or not isinstance(node, dict):
            continue
        seen.add(current)
        if node.get("class_type") == SWEEP:
            return current
        inputs = node.get("inputs")
        for name, value in (inputs if isinstance(inputs, dict) else {}).items():
            if name in ("lora", "more", "value", "string") and isinstance(value, list) and len(value) == 2:
                waiting.append(str(value[0]))
    return None
