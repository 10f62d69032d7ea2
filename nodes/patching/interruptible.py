"""Work that the user can cancel although a system call of it hangs: reading from a share that has gone, say."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

import comfy.model_management

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")
_LOOK_EVERY = 0.1  # seconds


def interruptible(work: Callable[[], _T]) -> _T:
    """The outcome of the work, or its error; ComfyUI's own exception as soon as the run is cancelled.

    What hangs then is left behind in its thread: nothing can end a system call that the disk does not answer.
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
