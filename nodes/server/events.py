"""The event `air_lora.progress`, which is sent to every open ComfyUI page over its WebSocket.

{"job" | null, "node" | null, "model", "file_name", "phase", "done", "total" | null, "bytes_per_second" | null,
 "seconds_left" | null, "state"?: "done" | "failed", "error"?: {code, parameter, message, remedy}}
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .running import running_server

if TYPE_CHECKING:
    from ...lora_resolver import Identifier, LoraResolverError, Progress

EVENT = "air_lora.progress"
INTERVAL = 0.25
"""Minimum seconds between two events of one LoRA in one phase."""


class ProgressEvents:
    """Sends the progress of the files of one job, or of one node, to the pages. For use in one thread."""

    def __init__(self, *, job: str | None = None, node: str | None = None) -> None:
        self._job = job
        self._node = node
        self._sent: dict[Identifier, tuple[str, float]] = {}
        self._ended: set[Identifier] = set()

    def __call__(self, progress: Progress) -> None:
        """Sends the progress, unless it was sent a moment ago."""
        phase, when = self._sent.get(progress.identifier, ("", 0.0))
        now = time.monotonic()
        if progress.identifier in self._ended or (phase == progress.phase and now - when < INTERVAL):
            return
        self._sent[progress.identifier] = (progress.phase, now)
        from .routes.items import MAX_FILE_NAME, plain  # late: must not slow down ComfyUI's start

        facts: dict[str, Any] = {
            "file_name": plain(progress.file_name, MAX_FILE_NAME),
            "done": progress.done,
            "total": progress.total,
            "bytes_per_second": progress.bytes_per_second or None,
            "seconds_left": progress.seconds_left,
        }
        if progress.phase == "done":
            facts["state"] = "done"
            self._ended.add(progress.identifier)
        self._send(str(progress.identifier), progress.phase, facts)

    def failed(self, identifier: Identifier, error: LoraResolverError) -> None:
        """Sends why a file isn't available, unless its end has already been sent."""
        if identifier in self._ended:
            return
        self._ended.add(identifier)
        from .routes.items import error_facts  # late, as above

        self._send(str(identifier), "done", {"state": "failed", "error": error_facts(error)})

    def _send(self, model: str, phase: str, facts: dict[str, Any]) -> None:
        server = running_server()
        if server is None:
            return
        from .routes.guard import discreet

        nothing_known = {"done": 0, "total": None, "bytes_per_second": None, "seconds_left": None}
        about = {"job": self._job, "node": self._node, "model": model, "phase": phase}
        server.send_sync(EVENT, discreet({**about, **nothing_known, **facts}))
