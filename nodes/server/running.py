"""The ComfyUI server that runs, for whoever adds routes to it, sends it events, or asks for its queue."""

from __future__ import annotations

from typing import Any


def running_server() -> Any:
    """ComfyUI's PromptServer; None where the nodes are used as a library, without one."""
    from server import PromptServer  # late: its import starts half of ComfyUI

    return getattr(PromptServer, "instance", None)
