"""POST /air_lora/v1 and its WebSocket: tasks in Runware's form; GET /air_lora/v1/results/…: their pictures.

The read loop of a socket never waits for a picture: each task runs in its own asyncio task, and its answer is sent in
its own frame.
"""

from __future__ import annotations

import asyncio
import json
import logging
import weakref
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from aiohttp import WSCloseCode, WSMsgType, web

from ...lora_resolver import (
    Answer,
    LoraResolverError,
    digest_of,
    errors_of,
    failed,
    frame_of,
    merged,
    new_uuid,
    status_of,
    task_uuid,
    tasks_of,
)
from ..server.routes import workers
from ..server.routes.guard import Refused, discreet, read_body
from ..server.running import running_server
from .access import bearer_of, check_request, is_on, is_own_key, no_key
from .jobs import jobs
from .long_answers import HEADERS, answered
from .model_search import model_search
from .pictures import FOLDER, FORMATS, encoded, input_file, is_uuid, result_file, take_in, uuid_of

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/air_lora/v1"
MOST_BODY = 100 * 1024**2
MOST_OF_A_STRANGER = 1024**2
"""Maximum bytes until the API key is known. For a socket's frames it is sixteen times as much, since their limit can't
be raised later."""
MOST_WRONG_KEYS = 5
LARGE = 1024**2
"""Messages of more bytes are parsed in a thread, because half a second of parsing would block everything else."""

_log = logging.getLogger(__name__)
_sockets: weakref.WeakSet[web.WebSocketResponse] = weakref.WeakSet()


def register_endpoint() -> None:
    """Adds the routes to the running server. Does nothing without a server."""
    server = running_server()
    if server is None:
        return
    for path in (PATH, PATH + "/"):
        server.routes.get(path)(_get)
        server.routes.post(path)(_post)
    server.routes.get(PATH + "/results/{name}")(_result)
    server.app.on_shutdown.append(_say_goodbye)


async def _post(request: web.Request) -> web.StreamResponse:
    try:
        is_let_in = check_request(request) or is_own_key(bearer_of(request))
        tasks = await _read(await read_body(request, MOST_BODY if is_let_in else MOST_OF_A_STRANGER))
    except LoraResolverError as error:
        return _json(Answer(errors=errors_of(error, {})), getattr(error, "status", 400))
    if not is_let_in and not any(
        is_own_key(task.get("apiKey")) for task in tasks if _is(task, "authentication")
    ):
        return _json(Answer(errors=errors_of(no_key(), {"taskType": "authentication"})), 401)
    rest = [task for task in tasks if not _is(task, "authentication")]
    return await answered(request, _answers(rest or tasks, _base(request)))


async def _answers(tasks: list[dict[str, Any]], base: str) -> tuple[str, int]:
    whole = merged(await asyncio.gather(*(_answer(task, base) for task in tasks)))
    return _text(whole), status_of(whole)


async def _get(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise web.HTTPMethodNotAllowed("GET", ["POST"])
    try:
        is_let_in = check_request(request) or is_own_key(bearer_of(request))
    except Refused as error:
        return _json(Answer(errors=errors_of(error, {})), error.status)
    socket = web.WebSocketResponse(
        max_msg_size=MOST_BODY if is_let_in else 16 * MOST_OF_A_STRANGER, heartbeat=30
    )
    await socket.prepare(request)
    _sockets.add(socket)
    wrong_keys = 0
    connection = _Connection(socket, _base(request), request.headers.get("User-Agent", ""))
    async for message in socket:
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            continue
        try:
            tasks = await _read(message.data)
        except LoraResolverError as error:
            await connection.send(Answer(errors=errors_of(error, {})))
            continue
        for task in tasks:
            if _is(task, "authentication"):
                is_let_in = is_let_in or is_own_key(task.get("apiKey"))
                if is_let_in:
                    await connection.send(_authenticated(task))
            if not is_let_in:
                await connection.send(Answer(errors=errors_of(no_key(), {"taskType": "authentication"})))
                wrong_keys += 1
                if wrong_keys >= MOST_WRONG_KEYS:
                    await socket.close(code=WSCloseCode.POLICY_VIOLATION)
            elif not _is(task, "authentication"):
                connection.begin(task)
    return socket


async def _read(message: str | bytes) -> list[dict[str, Any]]:
    if len(message) > LARGE:
        return await workers.pictures.do(lambda: tasks_of(message))
    return tasks_of(message)


class _Connection:
    """One socket. Each answer is one frame, and frames are sent one after the other."""

    def __init__(self, socket: web.WebSocketResponse, base: str, agent: str) -> None:
        self._socket = socket
        self._base = base
        self._agent = agent
        self._sending = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, task: dict[str, Any]) -> None:
        """Starts the task. Its answer is sent when it is ready; the read loop continues meanwhile."""
        made = asyncio.get_running_loop().create_task(self._answered(task))
        self._tasks.add(made)
        made.add_done_callback(self._tasks.discard)

    async def _answered(self, task: dict[str, Any]) -> None:
        await self.send(await _answer(task, self._base), task)

    async def send(self, answer: Answer, task: Mapping[str, Any] | None = None) -> None:
        """Sends the answer, unless the socket is closed."""
        discreet_one = Answer(discreet(answer.data), discreet(answer.errors))
        text = frame_of(discreet_one, task, self._agent)
        async with self._sending:
            if not self._socket.closed:
                try:
                    await self._socket.send_str(text)
                except (ConnectionError, RuntimeError):
                    return


async def _answer(task: dict[str, Any], base: str) -> Answer:
    """The answer to one task. Never raises: one task must not fail the others, and every client needs an answer."""
    try:
        return await _answer_of(task, base)
    except LoraResolverError as error:
        return Answer(errors=errors_of(error, task))
    except Exception as error:
        _log.exception("AIR LoRA: An endpoint task failed unexpectedly.")
        return failed(task, "internalServerError", f"{type(error).__name__}: {error}"[:500])


async def _answer_of(task: dict[str, Any], base: str) -> Answer:
    """The answer to one task. Raises the errors that a task can cause."""
    kind = task.get("taskType")
    if kind == "ping":
        return Answer([{"taskType": "ping", "pong": True}])
    if kind == "authentication":
        return _authenticated(task)
    if kind not in ("imageInference", "getResponse", "imageUpload", "modelSearch"):
        return failed(
            task,
            "unsupportedTaskType",
            f"taskType: {str(kind)[:60]!r} isn't supported. Supported types are authentication, ping, "
            "imageInference, getResponse, imageUpload, and modelSearch",
            "taskType",
        )
    uuid = task_uuid(task)
    if kind == "imageInference":
        is_large = any(isinstance(value, str) and len(value) > LARGE for value in task.values())
        digest = await workers.pictures.do(lambda: digest_of(task)) if is_large else digest_of(task)
        job = jobs.start(task, uuid, digest)
        if task.get("deliveryMethod") == "async":
            return job.failure or job.acknowledged()
        await job.ended.wait()
        return await job.progress(base)
    if kind == "getResponse":
        known = jobs.get(uuid)
        if known is None:
            message = "There is no task with this taskUUID. Tasks are kept for two hours"
            return failed(task, "taskFailedOrNotFound", message, "taskUUID")
        return await known.progress(base)
    if kind == "imageUpload":
        return await _uploaded(task, uuid, base)
    return await model_search(task)


def _authenticated(task: Mapping[str, Any]) -> Answer:
    session = task.get("connectionSessionUUID")
    return Answer(
        [
            {
                "taskType": "authentication",
                "connectionSessionUUID": session[:100] if isinstance(session, str) else new_uuid(),
            }
        ]
    )


async def _uploaded(task: Mapping[str, Any], uuid: str, base: str) -> Answer:
    name = await workers.pictures.do(lambda: take_in(task.get("image"), "image"))
    image = uuid_of(name)
    return Answer(
        [
            {
                "taskType": "imageUpload",
                "taskUUID": uuid,
                "imageUUID": image,
                "imageURL": f"{base}/results/{image}.png",
            }
        ]
    )


async def _result(request: web.Request) -> web.StreamResponse:
    """A picture by its UUID, which nobody can guess, so clients can fetch it without an API key."""
    if not is_on():
        raise web.HTTPNotFound(text="The request endpoint is disabled.")
    name = PurePosixPath(request.match_info["name"])
    path = result_file(name.stem)
    if path is None:
        uploaded = input_file(f"{FOLDER}/{name.stem}.png")
        path = uploaded if is_uuid(name.stem) and uploaded.is_file() else None
    wanted = name.suffix.lstrip(".").upper()
    is_picture = path is not None and path.suffix.lower() == ".png"
    if path is None or (wanted not in FORMATS if is_picture else name.suffix.lower() != path.suffix.lower()):
        raise web.HTTPNotFound(text="There is no such result.")
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, max-age=86400",
        "Content-Security-Policy": "sandbox; default-src 'none'",  # an SVG's scripts would run as ComfyUI's own
    }
    if not is_picture:
        return web.FileResponse(path, headers=headers)
    asked = request.query.get("q", "95")
    quality = min(100, max(1, int(asked))) if asked.isdecimal() and len(asked) < 4 else 95
    try:
        content = await workers.pictures.do(lambda: encoded(path, wanted, quality))
    except OSError:  # removed meanwhile, or not a picture
        raise web.HTTPNotFound(text="There is no such result.") from None
    return web.Response(body=content, content_type=FORMATS[wanted][1], headers=headers)


def _is(task: Mapping[str, Any], kind: str) -> bool:
    return task.get("taskType") == kind


def _base(request: web.Request) -> str:
    # Behind a proxy, the client may have used another scheme.
    forwarded = request.headers.get("X-Forwarded-Proto", "").strip().lower()
    scheme = forwarded if forwarded in ("http", "https") else request.scheme
    return f"{scheme}://{request.host}{PATH}"


def _json(answer: Answer, status: int) -> web.Response:
    return web.Response(text=_text(answer), status=status, content_type="application/json", headers=HEADERS)


def _text(answer: Answer) -> str:
    return json.dumps(discreet(answer.as_dict()))  # in ASCII: the task may contain half a surrogate pair


async def _say_goodbye(_: web.Application) -> None:
    """Closes all sockets with an error code when ComfyUI stops. Clients then reconnect and resend their open tasks."""
    for socket in list(_sockets):
        await socket.close(code=WSCloseCode.INTERNAL_ERROR, message=b"ComfyUI stops")
