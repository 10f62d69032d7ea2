"""The running ComfyUI server, for code that adds routes, sends events, or reads the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_execution.utils import get_executing_context

if TYPE_CHECKING:
    from collections.abc import Mapping


def running_server() -> Any:
    """ComfyUI's PromptServer; None if the nodes are used as a library, without a server."""
    from server import PromptServer  # late: importing it starts half of ComfyUI

    return getattr(PromptServer, "instance", None)


def wired_outputs() -> frozenset[int] | None:
    """Indexes of this node's outputs that are linked to an input; None if that is unknown, so that all might be.

    Call it in `fingerprint_inputs` and in `execute`, where it returns the same. A node that leaves out an output must
    make that part of its fingerprint. Otherwise ComfyUI reuses the empty output when the output is linked later.
    """
    context = get_executing_context()
    queue = getattr(running_server(), "prompt_queue", None)
    if context is None or queue is None:
        return None
    running, _ = queue.get_current_queue_volatile()
    for _number, prompt_id, workflow, *_ in running:
        if prompt_id == context.prompt_id and context.node_id in workflow:
            return _links_from(context.node_id, workflow)
    return None


def _links_from(node_id: str, workflow: Mapping[str, Any]) -> frozenset[int]:
    links = (
        value
        for node in workflow.values()
        for value in node.get("inputs", {}).values()
        if isinstance(value, list) and len(value) == 2
    )
    return frozenset(output for origin, output in links if origin == node_id)
