"""Custom nodes that make each sampling step slow, as on another machine. The tests put it into custom_nodes.

A test thereby gets an image that takes seconds, and this takes no processor time.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import latent_preview

SECONDS = Path(__file__).with_name("seconds_per_step.txt")
"""A test writes the seconds into this file. Without the file, steps take as long as they take, at once."""

_prepare_callback = latent_preview.prepare_callback


def _prepare_slow_callback(*arguments: Any, **options: Any) -> Any:
    callback = _prepare_callback(*arguments, **options)

    def after_a_step(*facts: Any) -> Any:
        try:
            seconds = float(SECONDS.read_text() or 0)
        except FileNotFoundError:  # also if a test removes it at this moment
            seconds = 0.0
        end = time.monotonic() + seconds
        while time.monotonic() < end and SECONDS.exists():
            time.sleep(0.05)
        return callback(*facts)

    return after_a_step


latent_preview.prepare_callback = _prepare_slow_callback

NODE_CLASS_MAPPINGS: dict[str, Any] = {}
