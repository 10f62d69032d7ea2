"""Shows the resolver's progress on the node and in the terminal, and passes ComfyUI's Cancel on to it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import comfy.model_management
import comfy.utils

from .events import ProgressEvents
from .running import running_server

if TYPE_CHECKING:
    from ...lora_resolver import Identifier, Progress

BAR_STEPS = 1000
MEGABYTE = 1_000_000

_log = logging.getLogger(__name__)


class NodeProgress:
    """A callable for `on_progress`. Raises ComfyUI's InterruptProcessingException when the user pressed Cancel."""

    def __init__(self, node_id: str | None) -> None:
        self._node_id = node_id
        self._bar: comfy.utils.ProgressBar | None = None
        self._latest: dict[Identifier, Progress] = {}
        self._events = ProgressEvents(node=node_id)
        self._announced: set[tuple[Identifier, str]] = set()

    def __call__(self, progress: Progress) -> None:
        """Called in the thread that runs the node, up to ten times a second."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        self._latest[progress.identifier] = progress
        self._announce(progress)
        self._events(progress)
        if progress.phase == "done" and self._bar is not None:
            # The last text stays on the node after the run.
            self._show_text(f"{progress.file_name or progress.identifier}: on disk")
        if progress.phase not in ("download", "verify", "wait", "store"):
            return
        if self._bar is None:
            self._bar = comfy.utils.ProgressBar(BAR_STEPS, node_id=self._node_id)
        self._bar.update_absolute(int(self._fraction() * BAR_STEPS), BAR_STEPS)
        self._show_text(describe(progress))

    def _fraction(self) -> float:
        """The fraction of all bytes that is done, over the files whose sizes are known."""
        known = [progress for progress in self._latest.values() if progress.total]
        total = sum(progress.total or 0 for progress in known)
        return sum(progress.done for progress in known) / total if total else 0.0

    def _announce(self, progress: Progress) -> None:
        """Logs one line for each phase of each file, because a log that isn't a terminal has no progress bar."""
        step = (progress.identifier, progress.phase)
        if step not in self._announced and progress.phase in ("download", "wait"):
            self._announced.add(step)
            _log.info("[AIR LoRA] %s: %s", progress.identifier, describe(progress))

    def _show_text(self, text: str) -> None:
        server = running_server()
        if server is not None and self._node_id is not None:
            server.send_progress_text(text, self._node_id)


def describe(progress: Progress) -> str:
    """A text such as "pixel-art-xl.safetensors: 12.0 of 170.5 MB, 8.3 MB/s, 19 s left"."""
    parts = []
    if progress.phase == "wait":
        parts.append("waiting for another download of this file")
    elif progress.total:
        parts.append(f"{progress.done / MEGABYTE:.1f} of {progress.total / MEGABYTE:.1f} MB")
    else:
        parts.append(f"{progress.done / MEGABYTE:.1f} MB")
    if progress.phase == "store":
        parts.append("to the shared store")
    if progress.bytes_per_second:
        parts.append(f"{progress.bytes_per_second / MEGABYTE:.1f} MB/s")
    if progress.seconds_left is not None:
        parts.append(f"{progress.seconds_left:.0f} s left")
    return f"{progress.file_name or progress.identifier}: {', '.join(parts)}"
