"""Runs work so that the user can cancel it even if a system call hangs, such as a read from a disconnected share."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

import comfy.model_management

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_LOOK_EVERY = 0.1  # seconds


def interruptible(work: Callable[[], _T]) -> _T:
    """Returns the result of `work`, or raises its error. Raises ComfyUI's own exception when the run is canceled.

    A system call that hangs stays behind in its thread, because it can't be stopped.
    """
    outcome: list[_T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, name="air-lora-read", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK_EVERY)
        comfy.model_management.throw_exception_if_processing_interrupted()
    if failure:
        raise failure[0]
    return outcome[0]
