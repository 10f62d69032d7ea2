"""The message format: tasks in, items and errors out (https://runware.ai/docs, and the behavior of six clients).

    [{"taskType": "imageInference", "taskUUID": "…", …}, …]   or one such object
    {"data": [{"taskType", "taskUUID", …}], "errors": [{"code", "message", "parameter", "taskType", "taskUUID"}]}

Empty members are left out, because some clients treat `errors: []` as a failure.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import InvalidInput, LoraResolverError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Item = dict[str, Any]

MOST_TASKS = 100
"""The most tasks in one message."""
LARGEST_FRAME_OF_PYTHON = 1_000_000
"""Bytes. The client that calls itself runware-python closes its socket on a larger frame, and retries forever."""

_MAY_BE_HALF = re.compile(rb"\\u[dD][89a-fA-F]|\xed[\xa0-\xbf]")
"""A lone surrogate isn't valid text: it can't be written to a file or a response."""
_UUID = re.compile(r"[0-9A-Za-z_-]{1,64}")


@dataclass
class Answer:
    """The result of one task."""

    data: list[Item] = field(default_factory=list)
    errors: list[Item] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The message to send. Some REST clients show `error`, others show `errors`."""
        made: dict[str, Any] = {"data": self.data} if self.data else {}
        if self.errors:
            made |= {"errors": self.errors, "error": self.errors[0]}
        return made or {"data": []}

    def add(self, other: Answer) -> None:
        """Appends another task's answer to this one."""
        self.data += other.data
        self.errors += other.errors


def tasks_of(body: bytes | str) -> list[dict[str, Any]]:
    """The tasks of a message. Raises InvalidInput for an invalid message."""
    try:
        document = json.loads(body)
        if _MAY_BE_HALF.search(body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")):
            json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise InvalidInput(
            "The message isn't valid JSON", code="invalidJson", remedy="Send one task or an array of tasks."
        ) from None
    tasks = [document] if isinstance(document, dict) else document
    if not isinstance(tasks, list) or not tasks or not all(isinstance(task, dict) for task in tasks):
        raise InvalidInput(
            "The message is neither a task nor an array of tasks",
            code="invalidRequest",
            remedy='Send [{"taskType": "imageInference", "taskUUID": "…", …}].',
        )
    if len(tasks) > MOST_TASKS:
        raise InvalidInput(
            f"The message has {len(tasks)} tasks, but the limit is {MOST_TASKS}",
            code="tooManyTasks",
            remedy="Send them in several messages.",
        )
    return tasks


def task_uuid(task: Mapping[str, Any]) -> str:
    """The task's UUID as it was sent. Raises InvalidInput if it is missing or contains other characters."""
    value = task.get("taskUUID")
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise InvalidInput(
            "The task has no taskUUID" if value is None else "The taskUUID isn't valid",
            code="missingTaskUUID" if value is None else "invalidTaskUUID",
            parameter="taskUUID",
            remedy="Send a new UUID with each task.",
        )
    return value


def errors_of(error: LoraResolverError, task: Mapping[str, Any]) -> list[Item]:
    """One item for each error. The message includes the remedy, since clients show little else."""
    return [
        {
            "code": each.code,
            "message": sentences(each.message, each.remedy, each.parameter),
            **({"parameter": each.parameter} if each.parameter else {}),
            **_named(task),
        }
        for each in error.each()
    ]


def failed(task: Mapping[str, Any], code: str, message: str, parameter: str = "") -> Answer:
    """The answer of a task that failed for one reason."""
    error = {
        "code": code,
        "message": sentences(message, None, None),
        **({"parameter": parameter} if parameter else {}),
    }
    return Answer(errors=[{**error, **_named(task)}])


def _named(task: Mapping[str, Any]) -> Item:
    names = {key: task[key] for key in ("taskType", "taskUUID") if isinstance(task.get(key), str)}
    return {key: value[:100] for key, value in names.items()}


def sentences(message: str, remedy: str | None, parameter: str | None) -> str:
    """Place, message, and remedy in one text, since clients show little else of an error."""
    place = f"{parameter}: " if parameter else ""
    parts = [part.strip() for part in (f"{place}{message}", remedy) if part and part.strip()]
    return " ".join(part if part[-1] in ".!?…" else f"{part}." for part in parts)


def status_of(answer: Answer) -> int:
    """The HTTP status of an answer. Clients retry after 5xx and 429, so a failed task gets neither."""
    if answer.data or not answer.errors:
        return 200
    return 429 if answer.errors[0]["code"] == "tooManyRequests" else 400


def frame_of(answer: Answer, task: Mapping[str, Any] | None, agent: str) -> str:
    """The WebSocket frame of an answer, for the client that calls itself `agent`."""
    whole = answer.as_dict()
    whole.pop("error", None)
    text = json.dumps(whole)  # in ASCII, because the request may contain a lone surrogate
    if task is None or len(text) <= LARGEST_FRAME_OF_PYTHON or not agent.startswith("runware-python/"):
        return text
    message = (
        f"The answer has {len(text):,} bytes, but over a WebSocket this client accepts {LARGEST_FRAME_OF_PYTHON:,} "
        "at most. Request outputType URL, or use transport rest."
    )
    return json.dumps(failed(task, "responseTooLarge", message, "outputType").as_dict())


def digest_of(task: Mapping[str, Any]) -> str:
    """A digest of the task. Tasks with the same digest give the same images in the same form, however delivered."""
    same = {
        key: value for key, value in task.items() if key not in ("apiKey", "deliveryMethod", "includeCost")
    }
    return hashlib.sha256(json.dumps(same, sort_keys=True, default=str).encode()).hexdigest()


def new_uuid() -> str:
    """A UUID that can't be guessed, because results are stored under such names."""
    return str(uuid.uuid4())


def merged(answers: Iterable[Answer]) -> Answer:
    """The answers to one message, merged into one."""
    whole = Answer()
    for answer in answers:
        whole.add(answer)
    return whole
