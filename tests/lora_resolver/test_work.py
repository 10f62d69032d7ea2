"""Concurrent work: run in turns, and stopped when the caller stops waiting for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from lora_resolver.identifiers import Identifier
from lora_resolver.transfer.tasks import AT_ONCE, CancelToken, run_side_by_side

if TYPE_CHECKING:
    from lora_resolver.records import Progress
    from lora_resolver.transfer.tasks import ProgressTracker

NAMES = [Identifier("civitai", str(number), "1") for number in range(1, 5 * AT_ONCE + 1)]


def test_many_tasks_take_turns_and_keep_their_order() -> None:
    lock = threading.Lock()
    together = threading.Barrier(AT_ONCE)
    running = most = 0

    def task(tracker: ProgressTracker) -> Identifier:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(timeout=120)  # that many do run at the same time
        with lock:
            running -= 1
        return tracker.read().identifier

    assert run_side_by_side([(name, task) for name in NAMES], CancelToken()) == NAMES
    assert most == AT_ONCE


def test_whoever_waits_for_a_turn_when_it_is_stopped_never_begins() -> None:
    cancel = CancelToken()
    begun = []

    def task(tracker: ProgressTracker) -> None:
        begun.append(tracker)
        cancel.wait(120)

    def ctrl_c(_: Progress) -> None:
        if len(begun) == AT_ONCE:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_side_by_side([(name, task) for name in NAMES], cancel, ctrl_c)
    assert len(begun) == AT_ONCE
    running = [thread for thread in threading.enumerate() if thread.name == "air-lora"]
    for thread in running:
        thread.join(60)
    assert not [thread for thread in running if thread.is_alive()]
    assert len(begun) == AT_ONCE
