"""Runs work in threads that the caller can watch and stop.

The work runs in worker threads. The caller's thread waits and calls `on_progress`. If that call raises, all work is
stopped. This is how ComfyUI's Cancel works: its progress call raises in the thread that runs the node.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from ..errors import LoraResolverError
from ..records import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..identifiers import Identifier
    from ..records import Phase

__all__ = ["CancelToken", "Cancelled", "ProgressTracker", "SideBySide", "run_side_by_side"]

TICK = 0.125
"""Seconds between two reports: eight per second, between the required four and ten."""

GRACE = 0.8
"""Seconds that stopped workers have to clean up. The caller continues within a second in any case."""

AT_ONCE = 8
"""Tasks that run at the same time. A hundred simultaneous downloads would be no faster, and services refuse them."""

SPEED_WINDOW = 3.0
"""Seconds over which the speed is measured: long enough to be stable, short enough to follow a change."""

_log = logging.getLogger(__name__)
_S = TypeVar("_S")
_T = TypeVar("_T")


class Cancelled(Exception):
    """The work was stopped. Never leaves this package: the caller sees its own exception."""


class CancelToken:
    """Tells workers to stop, including workers that wait for data that never arrives."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._actions: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raises Cancelled if the work must stop."""
        if self._event.is_set():
            raise Cancelled

    def wait(self, seconds: float) -> None:
        """Sleeps, but raises Cancelled as soon as the work must stop."""
        if self._event.wait(seconds):
            raise Cancelled

    def also(self, action: Callable[[], None]) -> None:
        """Registers an action that runs when the work is stopped (at once if it already is)."""
        with self._lock:
            self._actions.append(action)
            come = self._event.is_set()
        if come:
            action()

    def now(self) -> None:
        """Stops the work."""
        with self._lock:
            self._event.set()
            actions = list(self._actions)
        for action in actions:
            action()


class ProgressTracker:
    """The progress of the work on one identifier. Written by workers, read by the caller's thread."""

    def __init__(self, identifier: Identifier) -> None:
        self._identifier = identifier
        self._lock = threading.Lock()
        self._file_name = ""
        self._phase: Phase = "look up"
        self._done = 0
        self._total: int | None = None
        self._history: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])

    def start(self, phase: Phase, *, file_name: str = "", done: int = 0, total: int | None = None) -> None:
        """Begins a phase. The first `done` bytes were there before and don't count toward the speed."""
        with self._lock:
            self._phase, self._done, self._total = phase, done, total
            self._file_name = file_name or self._file_name
            self._history = deque([(time.monotonic(), done)])

    def add(self, count: int) -> None:
        """Adds `count` bytes to this phase."""
        with self._lock:
            self._done += count

    def set(self, done: int, total: int | None) -> None:
        """Sets both figures, if they come from elsewhere (another process that downloads)."""
        with self._lock:
            self._done, self._total = done, total

    def read(self) -> Progress:
        """The current figures."""
        now = time.monotonic()
        with self._lock:
            self._history.append((now, self._done))
            while len(self._history) > 2 and now - self._history[0][0] > SPEED_WINDOW:
                self._history.popleft()
            began, before = self._history[0]
            speed = max(0.0, (self._done - before) / (now - began)) if now > began else 0.0
            left = None
            if self._total is not None and speed > 0:
                left = max(0.0, (self._total - self._done) / speed)
            return Progress(
                identifier=self._identifier,
                file_name=self._file_name,
                phase=self._phase,
                done=self._done,
                total=self._total,
                bytes_per_second=speed,
                seconds_left=left,
            )


class _Job(Generic[_T]):
    """One task in its own thread, with its outcome."""

    def __init__(
        self, task: Callable[[ProgressTracker], _T], tracker: ProgressTracker, finished: threading.Event
    ) -> None:
        self.tracker = tracker
        self.result: _T | None = None
        self.error: BaseException | None = None
        self.ended = False
        self._task = task
        self._finished = finished
        # Daemon: a thread that hangs in a name lookup must not keep the program from ending.
        self.thread = threading.Thread(target=self._run, name="air-lora", daemon=True)
        self.thread.start()

    def outcome(self) -> _T | BaseException:
        """The result, or the exception that was raised. Valid only after `ended` is set."""
        return self.error if self.error is not None else cast("_T", self.result)

    def _run(self) -> None:
        try:
            self.result = self._task(self.tracker)
        except BaseException as error:  # passed to the caller's thread, whatever it is
            self.error = error
        self.ended = True
        self._finished.set()


def run_side_by_side(
    tasks: Sequence[tuple[Identifier, Callable[[ProgressTracker], _T]]],
    cancel: CancelToken,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[_T | BaseException]:
    """Runs all tasks in parallel, up to `AT_ONCE` at a time. Returns their results or exceptions, in order.

    `on_progress` is called only in this thread: for each running task, every `TICK` seconds, whether or not bytes
    have arrived, and once more when the task ends. If it raises, or the user presses Ctrl-C, all tasks are stopped and
    the same exception is raised within a second.
    """
    finished = threading.Event()
    turns = threading.Semaphore(AT_ONCE)
    jobs = [
        _Job(_in_turn(task, turns, cancel), ProgressTracker(identifier), finished)
        for identifier, task in tasks
    ]
    unreported = list(jobs)
    try:
        while unreported:
            due = time.monotonic() + TICK
            while not all(job.ended for job in jobs) and (left := due - time.monotonic()) > 0:
                finished.wait(left)
                finished.clear()
            unreported = _report(unreported, on_progress)
    except BaseException:
        cancel.now()
        deadline = time.monotonic() + GRACE
        for job in jobs:
            job.thread.join(max(0.0, deadline - time.monotonic()))
            if job.thread.is_alive():
                _log.debug("A worker is still running. It stops when its connection closes")
        raise
    return [job.outcome() for job in jobs]


def _in_turn(
    task: Callable[[ProgressTracker], _T], turns: threading.Semaphore, cancel: CancelToken
) -> Callable[[ProgressTracker], _T]:
    def wait_and_run(tracker: ProgressTracker) -> _T:
        with turns:
            cancel.check()
            return task(tracker)

    return wait_and_run


def _report(jobs: Sequence[_Job[_T]], on_progress: Callable[[Progress], None] | None) -> list[_Job[_T]]:
    """Reports the progress of each job. Returns the jobs that haven't ended yet."""
    still_running = [job for job in jobs if not job.ended]
    if on_progress is not None:
        for job in jobs:
            on_progress(job.tracker.read())
    return still_running


class SideBySide:
    """Runs one step for several identifiers at once."""

    def __init__(self, cancel: CancelToken) -> None:
        self._cancel = cancel

    def __call__(
        self,
        subjects: Mapping[Identifier, _S],
        step: Callable[[Identifier, _S, ProgressTracker], _T],
        on_progress: Callable[[Progress], None] | None,
    ) -> tuple[dict[Identifier, _T], dict[Identifier, LoraResolverError]]:
        """The results of the step, and the errors of the others. Raises exceptions other than LoraResolverError."""
        tasks = [(each, _task(step, each, subject)) for each, subject in subjects.items()]
        given: dict[Identifier, _T] = {}
        failed: dict[Identifier, LoraResolverError] = {}
        for name, outcome in zip(subjects, run_side_by_side(tasks, self._cancel, on_progress)):
            if isinstance(outcome, LoraResolverError):
                failed[name] = outcome
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                given[name] = outcome
        return given, failed


def _task(
    step: Callable[[Identifier, _S, ProgressTracker], _T], identifier: Identifier, subject: _S
) -> Callable[[ProgressTracker], _T]:
    return lambda tracker: step(identifier, subject, tracker)
