"""The front door: the protocol of one ComfyUI's endpoint, in front of many. POST and WebSocket at /air_lora/v1.

Each task is sent to one worker as a whole. The front door keeps track of the task until the worker answers, so nothing
is lost if a worker dies: another worker gets the task, and generates only the images that are missing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from ray import serve
from ray.exceptions import RayActorError
from ray.serve.metrics import Counter as Metric
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from lora_resolver import (
    Answer,
    LoraResolverError,
    errors_of,
    failed,
    frame_of,
    merged,
    new_uuid,
    status_of,
    task_uuid,
    tasks_of,
)

from .access import bearer, is_from_another_page, is_from_here, is_key
from .jobs import Jobs, apart
from .keys import joined, keys_of
from .routing import MAKE_IMAGES
from .worker import HERE, WorkerLost

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ray.serve.handle import DeploymentHandle
    from starlette.requests import Request

_log = logging.getLogger(__name__)
PATH = "/air_lora/v1"
NAME, WORKER = "air-lora", "worker"
"""Their names in Ray Serve."""
MOST_BODY = 100 * 1024**2
MOST_OF_A_STRANGER = 1024**2
"""Bytes, unless the client is on this computer or sends the key in its headers."""
MOST_WRONG_KEYS = 5
PATIENCE = 120.0
"""Seconds until the response's headers are sent, even without a result: clients give up if they get no headers."""
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
PAUSES = (0.0, 0.5, 1.0, 4.0, 16.0)
"""Seconds before each attempt at a task whose worker was lost. The total is longer than Ray needs to notice."""
AT_ONCE_SECONDS = 0.2
"""How long an async task waits before it is acknowledged. Most errors are known by then."""


def _routes() -> Starlette:
    """Builds the application in the front door's process, because it can't be sent there."""

    def door() -> FrontDoor:
        found: FrontDoor = serve.get_replica_context().servable_object
        return found

    async def post(request: Request) -> Response:
        return await door().post(request)

    async def socket(socket: WebSocket) -> None:
        await door().socket(socket)

    async def result(request: Request) -> Response:
        return await door().result(request)

    async def status(request: Request) -> Response:
        return await door().status(request)

    return Starlette(
        routes=[
            Route(PATH, post, methods=["POST"]),
            Route(PATH + "/", post, methods=["POST"]),
            WebSocketRoute(PATH, socket),
            Route(PATH + "/results/{name}", result),
            Route(PATH + "/status", status),
        ]
    )


@serve.ingress(_routes)
class FrontDoor:
    """Made into a deployment by `fleet.serving`."""

    def __init__(self, workers: DeploymentHandle, key: str, with_affinity: bool, most_open: int) -> None:
        self._for_images = workers
        # A router of their own. In the images' router, results and searches would wait behind the images.
        self._for_others = serve.get_deployment_handle(WORKER, NAME)
        self._key = key
        self._with_affinity = with_affinity
        self._jobs = Jobs(most_open)
        self._kept: Counter[str] = Counter()
        self._by_worker: Counter[str] = Counter()
        self._metric = Metric(
            "air_lora_tasks", "Image tasks, by what their worker had already loaded.", tag_keys=("kept",)
        )

    async def post(self, request: Request) -> Response:
        """Answers an array of tasks, or one task."""
        if is_from_another_page(request.headers):
            return _json(failed({}, "foreignOrigin", "Requests from other websites aren't allowed"), 403)
        is_let_in = self._is_let_in(request, bearer(request.headers))
        body = await _body(request, MOST_BODY if is_let_in else MOST_OF_A_STRANGER)
        if body is None:
            return _json(
                failed(
                    {},
                    "tooLarge",
                    "The message is too large. Send fewer or smaller images, or upload them first",
                ),
                413,
            )
        try:
            tasks = tasks_of(body)
        except LoraResolverError as error:
            return _json(Answer(errors=errors_of(error, {})), 400)
        if not is_let_in and not any(
            is_key(self._key, task.get("apiKey")) for task in tasks if _is_key(task)
        ):
            return _json(_no_key(), 401)
        rest = [task for task in tasks if not _is_key(task)]
        base = _base(request, request.url.scheme)
        made = asyncio.ensure_future(asyncio.gather(*(self._answer(task, base) for task in rest or tasks)))
        await asyncio.wait({made}, timeout=PATIENCE)
        if made.done():
            whole = merged(made.result())
            return _json(whole, status_of(whole))

        async def held() -> AsyncIterator[str]:
            while not made.done():
                yield " "
                await asyncio.wait({made}, timeout=PATIENCE / 4)
            yield json.dumps(merged(made.result()).as_dict())

        return StreamingResponse(held(), media_type="application/json", headers=HEADERS)

    async def socket(self, socket: WebSocket) -> None:
        """Sends a frame for each answer. Reading never waits for a picture."""
        if is_from_another_page(socket.headers):
            await socket.close()
            return
        await socket.accept()
        is_let_in = self._is_let_in(socket, bearer(socket.headers))
        base = _base(socket, "https" if socket.url.scheme == "wss" else "http")
        wrong_keys = 0
        sending = asyncio.Lock()
        begun: set[asyncio.Task[None]] = set()

        async def send(answer: Answer, task: dict[str, Any] | None = None) -> None:
            text = frame_of(answer, task, socket.headers.get("user-agent", ""))
            async with sending:
                with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                    await socket.send_text(text)

        async def answered(task: dict[str, Any]) -> None:
            await send(await self._answer(task, base), task)

        with contextlib.suppress(WebSocketDisconnect):
            while True:
                frame = await socket.receive()
                if frame["type"] == "websocket.disconnect":
                    break
                try:
                    tasks = tasks_of(frame.get("text") or frame.get("bytes") or "")
                except LoraResolverError as error:
                    await send(Answer(errors=errors_of(error, {})))
                    continue
                for task in tasks:
                    if _is_key(task):
                        is_let_in = is_let_in or is_key(self._key, task.get("apiKey"))
                    if not is_let_in:
                        await send(_no_key())
                        wrong_keys += 1
                        if wrong_keys >= MOST_WRONG_KEYS:
                            await socket.close(1008)
                            return
                        continue
                    made = asyncio.get_running_loop().create_task(answered(task))
                    begun.add(made)
                    made.add_done_callback(begun.discard)

    async def result(self, request: Request) -> Response:
        """Sends a picture by its UUID. This needs no key, because nobody can guess a UUID."""
        handle = self._for_others.options(method_name="result")
        for pause in PAUSES[:4]:
            await asyncio.sleep(pause)
            try:
                found = await handle.remote(request.path_params["name"], request.url.query)
            except (RayActorError, WorkerLost):
                continue
            status, kind, content = found
            headers = {
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "private, max-age=86400",
                "Content-Security-Policy": "sandbox; default-src 'none'",
            }
            return Response(content, status, headers, kind)
        return Response("No worker responds.", 503, HEADERS)

    async def status(self, request: Request) -> Response:
        """Reports open and finished tasks, and how much was already loaded for them."""
        if not self._is_let_in(request, bearer(request.headers)):
            return _json(_no_key(), 401)
        tasks = {"open": self._jobs.open_ones(), "done": sum(self._kept.values())}
        said = {"tasks": tasks, "kept": dict(self._kept), "workers": dict(self._by_worker)}
        return JSONResponse({**said, "replicas": await asyncio.to_thread(_replicas)})

    def _is_let_in(self, connection: Request | WebSocket, *given: object) -> bool:
        client = connection.client.host if connection.client else ""
        return is_from_here(client, connection.headers) or any(is_key(self._key, each) for each in given)

    async def _answer(self, task: dict[str, Any], base: str) -> Answer:
        """Never raises: one task must not fail the others, and a client without an answer waits."""
        try:
            return _at(base, await self._answer_of(task))
        except LoraResolverError as error:
            return Answer(errors=errors_of(error, task))
        except Exception as error:
            _log.exception("A task failed unexpectedly.")
            return failed(task, "internalServerError", f"{type(error).__name__}: {error}"[:500])

    async def _answer_of(self, task: dict[str, Any]) -> Answer:
        kind = task.get("taskType")
        if kind == "ping":
            return Answer([{"taskType": "ping", "pong": True}])
        if kind == "authentication":
            session = task.get("connectionSessionUUID")
            session = session if isinstance(session, str) else new_uuid()
            return Answer([{"taskType": "authentication", "connectionSessionUUID": session}])
        if kind == "imageInference":
            return await self._image(task, task_uuid(task))
        if kind == "getResponse":
            return await self._response(task, task_uuid(task))
        return await apart(self._asked("other", task))

    async def _image(self, task: dict[str, Any], uuid: str) -> Answer:
        # The worker always answers when the task is finished. Async tasks are handled here.
        whole = {key: value for key, value in task.items() if key not in ("deliveryMethod", "apiKey")}
        job = self._jobs.start(uuid, task, lambda: self._asked("image", whole))
        if task.get("deliveryMethod") != "async":
            return await asyncio.shield(job.work)
        await asyncio.wait({job.work}, timeout=AT_ONCE_SECONDS)
        return job.progress() if job.work.done() and job.work.result().errors else job.acknowledged()

    async def _response(self, task: dict[str, Any], uuid: str) -> Answer:
        job = self._jobs.get(uuid)
        if job is None:
            job = self._jobs.resume(uuid, lambda: self._asked("resume", task))
            await asyncio.wait({job.work}, timeout=AT_ONCE_SECONDS)
            if job.work.done() and job.work.result().errors:
                self._jobs.forget(uuid)
        return job.progress()

    async def _asked(self, method: str, task: dict[str, Any]) -> Answer:
        """The answer of a worker. If that worker is lost, another one gets the task."""
        is_image = method == "image"
        model_id = joined(keys_of(task)) if is_image and self._with_affinity else ""
        for pause in PAUSES:
            await asyncio.sleep(pause)
            workers = self._for_images if method in MAKE_IMAGES else self._for_others
            handle = workers.options(method_name=method, multiplexed_model_id=model_id)
            model_id = ""  # a worker that was lost may still be listed for this model
            try:
                said = await handle.remote(task)
            except (RayActorError, WorkerLost):
                continue
            answer = Answer(said.get("data", []), said.get("errors", []))
            if is_image and answer.data:
                self._count(answer.data[0].get("worker") or {})
            return answer
        message = f"{len(PAUSES)} workers failed during this task. For the reason, see their logs."
        return failed(task, "inferenceError", message)

    def _count(self, worker: dict[str, str]) -> None:
        kept = worker.get("kept", "nothing")
        self._kept[kept] += 1
        self._by_worker[worker.get("name", "")] += 1
        self._metric.inc(tags={"kept": kept})


async def _body(request: Request, most: int) -> bytes | None:
    """The request's body, or None as soon as it has more than `most` bytes."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


def _base(connection: Request | WebSocket, scheme: str) -> str:
    """The endpoint's address as the client uses it. Behind a proxy, the client can use another scheme."""
    forwarded = connection.headers.get("x-forwarded-proto", "").strip().lower()
    scheme = forwarded if forwarded in ("http", "https") else scheme
    return f"{scheme}://{connection.headers.get('host', '')}{PATH}"


def _at(base: str, answer: Answer) -> Answer:
    """The answer, with addresses that work for this client."""

    def placed(name: str, value: Any) -> Any:
        is_ours = name.endswith("URL") and isinstance(value, str) and value.startswith(HERE)
        return base + value[len(HERE) :] if is_ours else value

    data = [{name: placed(name, value) for name, value in item.items()} for item in answer.data]
    return Answer(data, answer.errors)


def _replicas() -> dict[str, int]:
    """The number of workers in each state, as in `serve status`."""
    application = serve.status().applications.get(NAME)
    worker = application.deployments.get(WORKER) if application else None
    return {str(state): count for state, count in worker.replica_states.items()} if worker else {}


def _is_key(task: dict[str, Any]) -> bool:
    return task.get("taskType") == "authentication"


def _no_key() -> Answer:
    message = (
        "The API key was rejected. Use the value of AIR_LORA_API_KEY on the computer that runs the workers."
    )
    return failed({"taskType": "authentication"}, "invalidApiKey", message)


def _json(answer: Answer, status: int) -> Response:
    text = json.dumps(answer.as_dict())
    return Response(text, status, HEADERS, "application/json")
