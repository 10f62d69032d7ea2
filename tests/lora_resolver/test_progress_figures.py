"""The reported speed of a download, and the remaining time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lora_resolver import TransferFailed, parse_identifier
from lora_resolver.transfer import tasks
from lora_resolver.transfer.download.fetch import _Pace
from lora_resolver.transfer.tasks import ProgressTracker
from tests.lora_resolver.served_loras import quick_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Advances the clock that the figures are computed with."""
    now = 1000.0

    def move(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(tasks.time, "monotonic", lambda: now)
    return move


@pytest.fixture
def tracker(clock: Callable[[float], None]) -> ProgressTracker:
    assert clock
    return ProgressTracker(parse_identifier("civitai:1@2"))


def test_speed_and_time_left_come_from_what_was_done(
    tracker: ProgressTracker, clock: Callable[[float], None]
) -> None:
    tracker.start("download", file_name="a.safetensors", done=500, total=2500)
    clock(2)
    tracker.add(1000)
    progress = tracker.read()
    assert (progress.done, progress.total) == (1500, 2500)
    assert progress.bytes_per_second == 500
    assert progress.seconds_left == 2


def test_without_a_total_or_speed_nobody_knows_what_is_left(
    tracker: ProgressTracker, clock: Callable[[float], None]
) -> None:
    tracker.start("download", total=None)
    clock(1)
    tracker.add(100)
    assert (tracker.read().bytes_per_second, tracker.read().seconds_left) == (100, None)
    tracker.start("verify", total=100)
    clock(1)
    assert (tracker.read().bytes_per_second, tracker.read().seconds_left) == (0, None)


def test_only_the_last_seconds_count(tracker: ProgressTracker, clock: Callable[[float], None]) -> None:
    tracker.start("download", total=100_000)
    for _ in range(50):
        clock(1)
        tracker.add(1000)
        tracker.read()
    for _ in range(int(tasks.SPEED_WINDOW) + 3):
        clock(1)
        tracker.add(10)
        progress = tracker.read()
    assert progress.bytes_per_second == pytest.approx(10, abs=1)


def test_the_speed_does_not_jump_with_each_look(
    tracker: ProgressTracker, clock: Callable[[float], None]
) -> None:
    tracker.start("download", total=100_000)
    for count in (1000, 0, 2000):
        clock(tasks.SPEED_WINDOW / 4)
        tracker.add(count)
        progress = tracker.read()
    assert progress.bytes_per_second == pytest.approx(3000 / (tasks.SPEED_WINDOW * 3 / 4))


def test_a_slow_reader_gets_the_speed_since_it_looked_last(
    tracker: ProgressTracker, clock: Callable[[float], None]
) -> None:
    tracker.start("download", total=100_000)
    clock(tasks.SPEED_WINDOW + 1)
    tracker.add(1000)
    tracker.read()
    clock(tasks.SPEED_WINDOW + 1)
    tracker.add(100)
    assert tracker.read().bytes_per_second == pytest.approx(100 / (tasks.SPEED_WINDOW + 1))


def test_a_download_that_is_too_slow_says_how_slow_it_is(
    clock: Callable[[float], None], tmp_path: Path
) -> None:
    pace = _Pace(quick_config(tmp_path, read_timeout=10.0, min_bytes_per_second=100))
    clock(10)
    pace.check(1000)  # just fast enough
    clock(9)
    pace.check(10)
    clock(1)
    with pytest.raises(TransferFailed) as raised:
        pace.check(490)
    assert raised.value.code == "tooSlow"
    assert " 50 bytes per second" in raised.value.message
