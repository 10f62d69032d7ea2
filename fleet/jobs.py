"""Image tasks at the front door. Each is sent to a worker once, however often its client asks for it."""

from __future__ import annotations

import asyncio
import contextvars
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lora_resolver import Answer, InvalidInput, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

MOST_KEPT = 5000
MOST_BYTES = 256 * 1024**2
"""For all kept answers; those with base64 are large. If an answer is no longer kept, a worker is asked again."""
KEEP_SECONDS = 2 * 3600.0


@dataclass
class Job:
    """One image task that was sent to a worker."""

    uuid: str
    digest: str
    results: int
    work: asyncio.Task[Answer]
    began: float = field(default_factory=time.monotonic)

    def progress(self) -> Answer:
        """The answer, or the status `processing` for each picture."""
        if self.work.done():
            return self.work.result()
        named = {"taskType": "imageInference", "taskUUID": self.uuid, "status": "processing"}
        names = (uuid.uuid5(uuid.NAMESPACE_OID, f"{self.uuid} {number}") for number in range(self.results))
        return Answer([{**named, "imageUUID": str(name)} for name in names])

    def size(self) -> int:
        """The approximate size of its answer in bytes."""
        if not self.work.done():
            return 0
        return sum(
            len(value)
            for item in self.work.result().data
            for value in item.values()
            if isinstance(value, str)
        )

    def acknowledged(self) -> Answer:
        """The acknowledgment. It has no imageUUID, because some clients would mistake it for the result."""
        return Answer([{"taskType": "imageInference", "taskUUID": self.uuid}])


def apart(work: Coroutine[Any, Any, Answer]) -> asyncio.Task[Answer]:
    """Starts the work in an empty context. In the context of the client's request, Ray Serve would treat all tasks of
    one message as one request, answer only one of them, and cancel tasks that outlast the connection.
    """
    return contextvars.Context().run(asyncio.get_running_loop().create_task, work)


class Jobs:
    """All jobs, by taskUUID."""

    def __init__(self, most_open: int) -> None:
        self._most_open = most_open
        self._jobs: OrderedDict[str, Job] = OrderedDict()

    def get(self, uuid_: str) -> Job | None:
        """The job, or None if this front door doesn't know it."""
        return self._jobs.get(uuid_)

    def start(
        self, uuid_: str, task: Mapping[str, Any], ask: Callable[[], Coroutine[Any, Any, Answer]]
    ) -> Job:
        """The job of this task, existing or new. Raises InvalidInput for another task with the same UUID."""
        digest = digest_of(task)
        known = self._jobs.get(uuid_)
        if known is not None and not known.digest:
            known = None  # only its UUID was known; the worker matches this task with the one that it saved
        if known is not None and known.work.done() and known.work.result().errors:
            known = None  # it was rejected or failed, so it is tried again
        if known is not None and known.digest != digest:
            raise InvalidInput(
                "This UUID is already used by another task",
                code="conflictTaskUUID",
                parameter="taskUUID",
                remedy="Use a new UUID for each task.",
            )
        if known is not None:
            return known
        self._forget_old()
        if self.open_ones() >= self._most_open:
            raise InvalidInput(
                f"{self._most_open} tasks are already waiting or running",
                code="tooManyRequests",
                remedy="Try again later.",
            )
        number = task.get("numberResults")
        results = number if isinstance(number, int) and 0 < number <= 20 else 1
        job = Job(uuid_, digest, results, apart(ask()))
        self._jobs[uuid_] = job
        return job

    def resume(self, uuid_: str, ask: Callable[[], Coroutine[Any, Any, Answer]]) -> Job:
        """Starts a job for a task of which only the UUID is known. A worker may have saved the task."""
        job = Job(uuid_, "", 1, apart(ask()))
        self._jobs[uuid_] = job
        return job

    def forget(self, uuid_: str) -> None:
        """Removes a job that no worker knows."""
        self._jobs.pop(uuid_, None)

    def open_ones(self) -> int:
        """The number of jobs that have no answer yet."""
        return sum(not job.work.done() for job in self._jobs.values())

    def _forget_old(self) -> None:
        now = time.monotonic()
        surplus = len(self._jobs) - MOST_KEPT
        room = MOST_BYTES
        for number, (uuid_, job) in reversed(list(enumerate(self._jobs.items()))):
            room -= job.size()
            if job.work.done() and (number < surplus or now - job.began > KEEP_SECONDS or room < 0):
                del self._jobs[uuid_]
