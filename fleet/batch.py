"""Sends thousands of tasks from a file to an endpoint. When it runs again, it doesn't repeat finished tasks.

    tasks.jsonl    one task on each line, as in an array of the Runware API
    out/results.jsonl    {"line", "taskUUID", "seeds", "files", "seconds", "error"} of each finished task
    out/000003-7-1f0c44d2.png     the pictures: line, seed, task

Works with the front door of a fleet, and with the endpoint of a single ComfyUI.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

import requests
from filelock import FileLock, Timeout
from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

RESULTS = "results.jsonl"
ENDS_THE_BATCH = frozenset({401, 403, 404, 405})
"""Statuses that every other task would get too: a wrong address, or a wrong key."""
MOST_SERVER_ERRORS = 5
"""After this many responses with status 500, the task fails."""
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
"""Seconds between attempts while the endpoint is unavailable or full. The last value repeats."""
_UUID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_NAMESPACE = uuid.UUID("5d3c1c5e-6a59-4b5e-9f0a-0d6f6f3a5f10")


class BatchFailed(Exception):
    """The batch can't start or continue."""


@dataclass
class Result:
    """The result of one task."""

    line: int
    uuid: str
    seeds: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The result in the format of the results file."""
        return {
            "line": self.line,
            "taskUUID": self.uuid,
            "seeds": self.seeds,
            "files": self.files,
            "seconds": round(self.seconds, 3),
            "error": self.error,
        }


@dataclass(frozen=True)
class Task:
    """A task, from one line of the file."""

    line: int
    uuid: str
    body: Mapping[str, Any]


def read_tasks(path: Path, namespace: uuid.UUID = _NAMESPACE) -> list[Task]:
    """The tasks of a file. A task gets the same UUID every time, wherever it is in the file.

    `namespace` belongs to the folder, so that another folder gets its own images. Raises BatchFailed with the line.
    """
    same: dict[str, int] = {}
    tasks: list[Task] = []
    seen: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BatchFailed(f"{path} can't be read: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            body = json.loads(line, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise BatchFailed(
                f"{path}, line {number}: not valid JSON ({error}). Write one task on each line."
            ) from None
        if not isinstance(body, dict):
            raise BatchFailed(
                f"{path}, line {number}: {type(body).__name__} isn't a task. Write a JSON object."
            )
        kind = body["taskType"] = body.get("taskType") or "imageInference"
        if kind != "imageInference":
            raise BatchFailed(
                f"{path}, line {number}: taskType {kind!r} isn't supported. Use imageInference."
            )
        name = body.get("taskUUID")
        if name is None:
            text = json.dumps(body, sort_keys=True)
            same[text] = same.get(text, 0) + 1
            name = str(uuid.uuid5(namespace, f"{same[text]} {text}"))
        if isinstance(name, str) and not _UUID.fullmatch(name):
            raise BatchFailed(
                f"{path}, line {number}: taskUUID {name[:80]!r} has unsupported characters. Use only letters, "
                "digits, -, and _."
            )
        if not isinstance(name, str) or name in seen:
            first = f" is already on line {seen[name]}" if isinstance(name, str) else " isn't text"
            raise BatchFailed(
                f"{path}, line {number}: taskUUID {name!r}{first}. Remove it, or use a different one."
            )
        seen[name] = number
        tasks.append(Task(number, name, body))
    if not tasks:
        raise BatchFailed(f"{path} has no tasks.")
    return tasks


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} isn't a JSON number")


def read_results(folder: Path) -> dict[str, Result]:
    """The last result of each task from earlier runs. Incomplete lines are ignored."""
    found: dict[str, Result] = {}
    path = folder / RESULTS
    for line in path.read_text("utf-8", "replace").split("\n") if path.exists() else ():
        result = _read_result(line)
        if result is not None:
            found[result.uuid] = result
    return found


def _read_result(line: str) -> Result | None:
    try:
        said = json.loads(line)
        return Result(
            said["line"], said["taskUUID"], said["seeds"], said["files"], said["seconds"], said["error"]
        )
    except (ValueError, KeyError, TypeError):
        return None


def namespace_of(folder: Path) -> uuid.UUID:
    """The folder's namespace, created by its first batch. Raises BatchFailed if the folder can't be used."""
    file = folder / ".batch"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        results = folder / RESULTS
        if not file.exists() or not (file.stat().st_size or (results.exists() and results.stat().st_size)):
            _write_once(file, str(uuid.uuid4()))
        text = file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise BatchFailed(f"{folder} can't be used: {error}") from None
    try:
        return uuid.UUID(text)
    except ValueError:
        raise BatchFailed(
            f"{file} is damaged. Restore it, or delete it and {RESULTS} to run all tasks again."
        ) from None


def _write_once(file: Path, text: str) -> None:
    """Writes the whole file or nothing. A batch that starts at the same moment may have written it."""
    part = file.with_name(f"{file.name}.{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    if file.exists() and not file.stat().st_size:
        file.unlink()
    try:
        os.link(part, file)
    except FileExistsError:
        pass
    except OSError:  # the file system has no hard links
        part.replace(file)
    part.unlink(missing_ok=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Raises BatchFailed if another batch runs in this folder."""
    lock = FileLock(folder / ".lock")
    try:
        with suppress(NotImplementedError):  # the file system has no locks
            lock.acquire(timeout=0)
    except Timeout:
        raise BatchFailed(
            f"Another batch is running in {folder}. Wait until it has finished, or use another --out folder."
        ) from None
    try:
        yield
    finally:
        lock.release()


def is_done(result: Result | None, folder: Path) -> bool:
    """Whether the task is finished: it has no error, and its pictures exist."""
    return (
        result is not None
        and result.error is None
        and all((folder / name).is_file() for name in result.files)
    )


@dataclass(frozen=True)
class Batch:
    """Sends tasks to an endpoint, and saves their pictures and results."""

    endpoint: str
    folder: Path
    key: str = ""
    at_once: int = 8
    patience: float = 600.0
    """Seconds to wait for an endpoint that doesn't respond."""

    def run(self, tasks: list[Task], *, bar: bool = True) -> list[Result]:
        """The results of all tasks, in the file's order. Raises BatchFailed if the endpoint doesn't respond."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with _alone(self.folder):
            return self._run(tasks, bar=bar)

    def _run(self, tasks: list[Task], *, bar: bool) -> list[Result]:
        before = read_results(self.folder)
        results = {
            task.uuid: before[task.uuid] for task in tasks if is_done(before.get(task.uuid), self.folder)
        }
        todo = [task for task in tasks if task.uuid not in results]
        _end_last_line(self.folder / RESULTS)
        stop = threading.Event()
        # Not in `with`, which would wait for open requests when the batch is stopped.
        pool = ThreadPoolExecutor(self.at_once)
        with (
            (self.folder / RESULTS).open("a", encoding="utf-8") as file,
            tqdm(
                total=len(tasks), initial=len(results), unit="task", disable=not bar, file=sys.stderr
            ) as shown,
        ):
            waiting = [pool.submit(self._do, task, stop) for task in todo]
            try:
                for each in as_completed(waiting):
                    result = each.result()
                    results[result.uuid] = result
                    file.write(json.dumps(result.as_dict(), ensure_ascii=False) + "\n")
                    file.flush()
                    shown.update()
            finally:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
        return [results[task.uuid] for task in tasks]

    def _do(self, task: Task, stop: threading.Event) -> Result:
        began = time.monotonic()
        result = Result(task.line, task.uuid)
        body = {"outputFormat": "PNG", **task.body, "taskUUID": task.uuid, "outputType": "URL"}
        body.pop("deliveryMethod", None)
        said = self._asked(body, stop)
        errors = said.get("errors") or []
        if errors:
            result.error = " ".join(str(each.get("message", each)) for each in errors)
        for number, item in enumerate(said.get("data") or []):
            found = _image_of(item)
            if found is None:
                result.error = f"The response has no image URL: {str(item)[:200]}"
                break
            address, seed = found
            ending = urlsplit(address).path.rpartition(".")[2][:5]
            of_task = hashlib.sha256(task.uuid.encode()).hexdigest()[:8]
            name = f"{task.line:06}-{seed}-{of_task}{f'-{number}' if seed in result.seeds else ''}.{ending}"
            content = self._fetched(address, stop)
            if content is None:
                result.error = f"The image can't be downloaded from {address}."
                break
            part = self.folder / f".{name}.part"
            try:
                part.write_bytes(content)
                part.replace(self.folder / name)
            except OSError:
                with suppress(OSError):
                    part.unlink()
                raise
            result.files.append(name)
            result.seeds.append(seed)
        result.seconds = time.monotonic() - began
        return result

    def _asked(self, body: Mapping[str, Any], stop: threading.Event) -> dict[str, Any]:
        def ask() -> requests.Response:
            return requests.post(
                self.endpoint, json=[body], headers=self._headers(self.endpoint), timeout=(10, 3600)
            )

        answer = self._until_it_answers(ask, stop)
        try:
            said = answer.json()
        except ValueError:
            said = None
        if answer.status_code in ENDS_THE_BATCH:
            why = str((said.get("errors") or [{}])[0].get("message", "")) if isinstance(said, dict) else ""
            raise BatchFailed(
                f"{self.endpoint} returned status {answer.status_code}. {why or 'Check the address.'}"
            )
        if not isinstance(said, dict) or not (said.get("data") or said.get("errors")):
            return {
                "errors": [
                    {"message": f"The endpoint returned status {answer.status_code} without valid JSON."}
                ]
            }
        return said

    def _fetched(self, address: str, stop: threading.Event) -> bytes | None:
        answer = self._until_it_answers(
            lambda: requests.get(address, headers=self._headers(address), timeout=(10, 600)), stop
        )
        return answer.content if answer.status_code == 200 else None

    def _headers(self, address: str) -> dict[str, str]:
        """The key is sent only to the endpoint's own host, whatever address a response contains."""
        is_endpoint = urlsplit(address)[:2] == urlsplit(self.endpoint)[:2]
        return {"Authorization": f"Bearer {self.key}"} if self.key and is_endpoint else {}

    def _until_it_answers(self, ask: Any, stop: threading.Event) -> requests.Response:
        until = time.monotonic() + self.patience
        tries = server_errors = 0
        while True:
            if stop.is_set():
                raise BatchFailed("The batch was stopped.")
            try:
                answer: requests.Response = ask()
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer
                reason = f"status {answer.status_code}"
                server_errors += answer.status_code == 500
                if server_errors >= MOST_SERVER_ERRORS:
                    return answer
            except requests.RequestException as error:
                if isinstance(error, (ValueError, requests.exceptions.InvalidJSONError)):
                    raise BatchFailed(f"The request can't be sent to {self.endpoint}: {error}") from None
                reason = type(error).__name__
            if time.monotonic() > until:
                raise BatchFailed(
                    f"{self.endpoint} didn't respond for {self.patience:.0f} seconds ({reason}). Start it, and run the "
                    "same command again to resume."
                )
            stop.wait(PAUSES[min(tries, len(PAUSES) - 1)])
            tries += 1


def _image_of(item: object) -> tuple[str, int] | None:
    """Address and seed of a result."""
    if not isinstance(item, dict):
        return None
    address = next(
        (value for name, value in item.items() if name.endswith("URL") and isinstance(value, str)), None
    )
    seed = item.get("seed", 0)
    return (address, seed) if address and isinstance(seed, int) else None


def _end_last_line(path: Path) -> None:
    """Ends an incomplete last line, so that the next result starts on a new line."""
    if path.exists() and path.stat().st_size:
        with path.open("rb+") as file:
            file.seek(-1, 2)
            if file.read(1) != b"\n":
                file.write(b"\n")
