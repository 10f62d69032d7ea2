"""Image tasks by taskUUID, from their arrival until their pictures are no longer requested.

A task that is sent again attaches to the running or finished one. A different task with the same UUID is a conflict.
After a restart of ComfyUI, a task resumes when a client asks for it. Its finished pictures aren't made again.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import mimetypes
import re
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ...lora_resolver import Answer, InvalidInput, LoraResolverError, errors_of, failed, new_uuid
from ..server.routes import workers
from . import journal
from .pictures import FORMATS, encoded, is_result, kept_as_result, remove_old_inputs, result_file, saved_file
from .preparing import checked, new_seed, output_of, prepare, with_pictures_taken_in
from .queue import RunFailed, enqueue, finished, take_out

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .preparing import Output, Prepared

Item = dict[str, Any]

_LORA = re.compile(r"lora\[(\d+)\]")

MOST_ACTIVE = 500
MOST_KEPT = 1000
LOOK_EVERY = 60.0
"""Seconds between two checks for old files."""

_FILES = ("images", "gifs", "video", "videos", "audio", "files", "3d")
"""The members of a node's outputs that list saved files."""

_ENDINGS = {
    "image": ("png", "jpg", "jpeg", "webp", "gif", "avif"),
    "audio": ("flac", "mp3", "opus", "wav", "ogg", "m4a"),
}
"""Kind of a file in the response → its endings. Every other file is a video."""


@dataclass
class Job:
    """One image task."""

    task: Mapping[str, Any]
    uuid: str
    digest: str
    """Of the task, without the members that only say how the response is delivered."""
    output: Output
    seeds: list[int]
    results: list[str]
    is_resumed: bool = False
    """Whether it is from before a restart, so that some of its results may already exist."""
    began: float = field(default_factory=time.monotonic)
    made: list[tuple[Item, Path]] = field(default_factory=list)
    """Each result's item without its picture, and the picture's file."""
    failure: Answer | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def progress(self, base: str) -> Answer:
        """The answer to getResponse: all pictures, or that each is being made. Addresses begin with `base`.

        Pictures are read from their files each time. Kept as base64, an hour's work would fill the memory.
        """
        if self.failure is not None:
            return self.failure
        if not self.ended.is_set():
            return Answer(
                [{**self._named(), "imageUUID": result, "status": "processing"} for result in self.results]
            )
        try:
            return Answer(
                [item | await self._given(path, item["imageUUID"], base) for item, path in self.made]
            )
        except OSError as error:
            name = PurePath(error.filename or "").name
            message = f"The image {name} is no longer in ComfyUI's output folder"
            return failed(self.task, "taskFailedOrNotFound", message, "taskUUID")

    async def _given(self, path: Path, result: str, base: str) -> Item:
        """The picture in each requested form. Raises OSError if the file was removed."""
        give = functools.partial(_given, path, result, self, base)
        # A URL alone needs no thread. Each switch to another thread has to wait while ComfyUI computes.
        return give() if self.output.types == ("URL",) else await workers.pictures.do(give)

    def is_lost(self) -> bool:
        """Whether it failed or its pictures were removed, so that the same task may be sent again."""
        return self.failure is not None or any(not path.is_file() for _, path in self.made)

    def acknowledged(self) -> Answer:
        """The first answer to an async task. It has no imageUUID, because some clients would take it for the result."""
        return Answer([self._named()])

    def _named(self) -> Item:
        return {"taskType": "imageInference", "taskUUID": self.uuid}


class Jobs:
    """All image tasks."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()
        self._looked = -LOOK_EVERY

    def get(self, uuid: str) -> Job | None:
        """The job; None if it was never sent or is no longer kept. A job from before a restart resumes."""
        known = self._jobs.get(uuid)
        if known is None and (kept := journal.read(uuid)) is not None:
            output = output_of(kept.task)
            known = self._begin(
                Job(kept.task, uuid, kept.digest, output, kept.seeds, kept.results, is_resumed=True)
            )
        return known

    def start(self, task: Mapping[str, Any], uuid: str, digest: str) -> Job:
        """The job of this task, started now or earlier. A failed job is started again. Raises LoraResolverError."""
        task = {key: value for key, value in task.items() if key != "apiKey"}
        known = self.get(uuid)
        if known is not None and not known.is_lost():
            if known.digest != digest:
                raise InvalidInput(
                    "Another task with different content already uses this taskUUID",
                    code="conflictTaskUUID",
                    parameter="taskUUID",
                    remedy="Use a new UUID for each task. Reuse a UUID only to send the same task again.",
                )
            return known
        active = sum(not job.ended.is_set() for job in self._jobs.values())
        if active >= MOST_ACTIVE:
            raise InvalidInput(
                f"{active} tasks are already waiting", code="tooManyRequests", remedy="Try again later."
            )
        output, asked = output_of(task), checked(task)
        first = asked.seed if asked.seed is not None else new_seed()
        seeds = [first + number for number in range(asked.number_results)]
        return self._begin(Job(task, uuid, digest, output, seeds, [new_uuid() for _ in seeds]))

    def _begin(self, job: Job) -> Job:
        self._forget_old()
        self._jobs[job.uuid] = job
        running = asyncio.get_running_loop().create_task(self._run(job))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return job

    async def _run(self, job: Job) -> None:
        queued: list[str] = []
        try:
            await self._render(job, queued)
        except LoraResolverError as error:
            job.failure = Answer(errors=errors_of(error, job.task))
            journal.remove(job.uuid)
        except RunFailed as failure:
            named = {key: job.task[key] for key in ("taskType", "taskUUID")}
            job.failure = Answer(errors=[{**_as_sent(error, job.task), **named} for error in failure.errors])
            journal.remove(job.uuid)
        except Exception as error:  # a task must not end without an answer
            job.failure = failed(job.task, "internalServerError", f"{type(error).__name__}: {error}"[:500])
        finally:
            if job.failure is None and len(job.made) < len(job.results):
                job.failure = failed(job.task, "cancelled", "ComfyUI was stopped")
            if job.failure is not None:
                with contextlib.suppress(Exception):
                    take_out(queued)
            job.task = {key: job.task[key] for key in ("taskType", "taskUUID")}  # it may hold large pictures
            job.ended.set()

    async def _render(self, job: Job, queued: list[str]) -> None:
        prepared = await workers.tasks.do(lambda: _prepared(job))
        prompts: dict[str, str] = {}
        for workflow, result in zip(prepared.workflows, job.results):
            if not job.is_resumed or result_file(result) is None:
                prompts[result] = await enqueue(workflow, prepared.own)
                queued.append(prompts[result])
        for seed, result in zip(job.seeds, job.results):
            path, others = await _made(prompts.get(result), result)
            if not is_result(path, result):
                path = await workers.pictures.do(functools.partial(kept_as_result, path, result))
            item: Item = {
                "taskType": "imageInference",
                "taskUUID": job.uuid,
                "imageUUID": result,
                "seed": seed,
                "status": "success",
            }
            if job.task.get("includeCost"):
                item["cost"] = 0
            left_out = [*prepared.left_out, *_others_left_out(others)]
            if left_out:
                item["leftOut"] = left_out
            job.made.append((item, path))

    def _forget_old(self) -> None:
        if time.monotonic() - self._looked > LOOK_EVERY:
            self._looked = time.monotonic()
            with contextlib.suppress(LoraResolverError):  # if the queue is full, it is done later
                workers.pictures.submit(remove_old_inputs)
                workers.pictures.submit(journal.remove_old)
        now = time.monotonic()
        ended = [uuid for uuid, job in self._jobs.items() if job.ended.is_set()]
        surplus = len(self._jobs) - MOST_KEPT
        for number, uuid in enumerate(ended):
            if number < surplus or now - self._jobs[uuid].began > journal.KEEP_SECONDS:
                del self._jobs[uuid]


def _as_sent(error: dict[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
    """The error with its place in the task as sent. In the workflow, entries of `lycoris` follow those of `lora`."""
    place = _LORA.match(str(error.get("parameter", "")))
    loras = task.get("lora")
    count = len(loras) if isinstance(loras, list) else int(isinstance(loras, dict))
    if place is None or int(place[1]) < count:
        return error
    sent = f"lycoris[{int(place[1]) - count}]"
    message = str(error["message"])
    return {
        **error,
        "parameter": sent + error["parameter"][place.end() :],
        "message": sent + message[place.end() :] if message.startswith(place[0]) else message,
    }


def _prepared(job: Job) -> Prepared:
    """Prepares the task. It is saved before any long step, with its pictures as UUIDs: waiting tasks must not keep
    pictures in memory.
    """
    task = job.task = with_pictures_taken_in(job.task)
    journal.write(journal.Entry(job.uuid, job.digest, task, job.seeds, job.results))
    return prepare(task, job.seeds, job.results)


async def _made(prompt_id: str | None, result: str) -> tuple[Path, list[str]]:
    """The picture's file and the names of other saved files, from the run or from before a restart of ComfyUI."""
    if prompt_id is None:
        before = result_file(result)
        if before is not None:
            return before, []
        raise RunFailed([{"code": "inferenceError", "message": "The image was deleted in the meantime."}])
    return _files_of(await finished(prompt_id))


def _files_of(outputs: Mapping[str, Any]) -> tuple[Path, list[str]]:
    """The file that the workflow saved first, or previewed if it saved none, and the names of its other saved files."""
    found = [
        each
        for output in outputs.values()
        if isinstance(output, dict)
        for key in _FILES
        for each in output.get(key) or ()
        if isinstance(each, dict) and "filename" in each
    ]
    if not found:
        raise RunFailed([{"code": "inferenceError", "message": "The workflow didn't save a file."}])
    found.sort(key=lambda each: each.get("type") != "output")
    others = [each for each in found[1:] if each.get("type") == "output" == found[0].get("type")]
    return saved_file(found[0]), [str(each["filename"]) for each in others]


def _others_left_out(names: list[str]) -> list[dict[str, Any]]:
    if not names:
        return []
    reason = (
        "The response contains only the first file that the workflow saved. The others are in ComfyUI's output "
        "folder."
    )
    return [{"parameter": "model", "value": ", ".join(names)[:500], "reason": reason}]


def _given(path: Path, result: str, job: Job, base: str) -> Item:
    """The picture in each requested form."""
    path.stat()  # raises OSError if it was removed
    is_picture = path.suffix.lower() == ".png"
    wanted = job.output.format
    ending = wanted.lower() if is_picture else path.suffix.lower().lstrip(".")
    quality = f"?q={job.output.quality}" if is_picture and wanted != "PNG" else ""
    given: Item = {}
    kind = next((kind for kind, endings in _ENDINGS.items() if ending in endings), "video")
    if "URL" in job.output.types:
        given[f"{kind}URL"] = f"{base}/results/{result}.{ending}{quality}"
    if {"base64Data", "dataURI"}.intersection(job.output.types):
        content = encoded(path, wanted, job.output.quality) if is_picture else path.read_bytes()
        text = base64.b64encode(content).decode()
        if "base64Data" in job.output.types:
            given[f"{kind}Base64Data"] = text
        if "dataURI" in job.output.types:
            mime = (
                FORMATS[wanted][1] if is_picture else mimetypes.guess_type(path.name)[0] or f"{kind}/{ending}"
            )
            given[f"{kind}DataURI"] = f"data:{mime};base64,{text}"
    return given


jobs = Jobs()
