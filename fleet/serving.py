"""The application that Ray Serve runs: the workers, and the front door that sends tasks to them."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.config import RequestRouterConfig

from .access import SHORTEST_KEY
from .front_door import NAME, PATH, WORKER, FrontDoor
from .ping import status_of_ping
from .routing import IMAGES_AT_ONCE, PATIENCE, ByWhatIsLoaded
from .worker import PING_SECONDS, Worker

if TYPE_CHECKING:
    from .comfyui import Launch

OBJECT_STORE = 256 * 1024**2
"""Bytes. Only what goes through the front door uses the object store."""
FREE_WITHIN = 10.0
"""Seconds to wait until a fleet that is stopping frees its port."""
CONNECT_SECONDS = 15.0
START_SECONDS = 600.0
"""Seconds to wait for the front door once the workers run. Ray's limit of a minute is too short on a busy machine."""
OF_RAY = {
    # By default, a process counts as dead if it answers late because its machine is busy.
    "RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "2",
    "RAY_SERVE_MAX_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "20",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "120",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",
}
"""Ray's settings (ray/serve/_private/constants.py). Values in the environment of `run` take precedence."""
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Fleet:
    """The options of `run`."""

    launch: Launch
    workers: int
    host: str = "127.0.0.1"
    port: int = 8000
    address: str | None = None
    """The address of a Ray cluster. None starts Ray on this computer only."""
    queue: int = 1000
    """Tasks that may wait for a worker."""
    gpus: float | None = None
    """For each worker. None means one GPU if Ray finds any, and otherwise zero."""
    cpus: int = 1
    hang_seconds: float = 60.0
    with_affinity: bool = True
    patience: float = PATIENCE
    """Seconds that a task waits for a worker that has its array loaded, while others are free."""


def start(fleet: Fleet) -> None:
    """Returns when every worker answers. Raises RuntimeError with the reason if they don't start."""
    key = os.environ.get("AIR_LORA_API_KEY", "").strip()
    if fleet.host not in ("127.0.0.1", "localhost", "::1") and len(key) < SHORTEST_KEY:
        raise RuntimeError(
            f"Other computers can reach {fleet.host}. Set AIR_LORA_API_KEY to {SHORTEST_KEY} characters or more."
        )
    if not fleet.address:
        _check_port(fleet.host, fleet.port)
    try:
        _deploy(fleet, key)
    except RayError as error:
        raise RuntimeError(f"Ray failed during startup. {error}") from None
    _wait_for_the_front_door(fleet)


def _deploy(fleet: Fleet, key: str) -> None:
    _connect(fleet)
    with contextlib.suppress(TimeoutError):  # it continues to start
        serve.start(http_options={"host": fleet.host, "port": fleet.port, "location": "HeadOnly"})
    application = _application(fleet, key)
    try:
        serve.run(application, name=NAME, route_prefix="/")
    except RuntimeError as error:
        said = serve.status().applications.get(NAME)
        worker = said.deployments.get(WORKER) if said else None
        raise RuntimeError(f"The workers didn't start. {worker.message if worker else error}") from None


def stop(fleet: Fleet) -> None:
    """Stops the workers. On a cluster, Ray itself keeps running."""
    if not ray.is_initialized():
        return
    if fleet.address:
        serve.delete(NAME)
    ray.shutdown()


def _wait_for_the_front_door(fleet: Fleet) -> None:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(fleet.host, fleet.host)  # noqa: S104 - only compared
    host = f"[{host}]" if ":" in host else host
    until = time.monotonic() + START_SECONDS
    # Without its key, the front door rejects the ping (401). Any other status is Ray's: the front door isn't there yet.
    while status_of_ping(f"http://{host}:{fleet.port}{PATH}", PING_SECONDS) not in (200, 401):
        if time.monotonic() > until:
            raise RuntimeError(f"Ray Serve doesn't respond at port {fleet.port}.")
        time.sleep(0.2)


def _check_port(host: str, port: int) -> None:
    """Raises RuntimeError if the port is in use, because Ray would share the port with another Ray."""
    until = time.monotonic() + FREE_WITHIN
    while True:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
            # A server that has just stopped doesn't block the port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port))
                listener.listen()
            except OSError as error:
                if time.monotonic() > until:
                    raise RuntimeError(
                        f"Can't listen on {host}:{port} ({error}). Choose another --port."
                    ) from None
            else:
                return
        time.sleep(0.5)


def _connect(fleet: Fleet) -> None:
    settings = {name: os.environ.get(name, value) for name, value in OF_RAY.items()}
    # By default, Ray's workers, and a ComfyUI that one of them starts, have a lower priority than other processes.
    os.environ.setdefault("RAY_worker_niceness", "0")
    if fleet.address:
        _check_cluster(fleet.address)
        modules = [str(ROOT / "fleet"), str(ROOT / "lora_resolver")]
        try:
            ray.init(address=fleet.address, runtime_env={"py_modules": modules, "env_vars": settings})
        except ConnectionError as error:
            raise RuntimeError(f"No Ray cluster responds at {fleet.address} ({error}).") from None
        return
    ray.init(
        num_cpus=max(os.cpu_count() or 1, fleet.workers * fleet.cpus),
        include_dashboard=False,
        object_store_memory=OBJECT_STORE,
        _node_ip_address="127.0.0.1",  # otherwise, Ray's own ports are open to the network
        runtime_env={"env_vars": {**settings, "PYTHONPATH": str(ROOT)}},
        log_to_driver=True,
    )


def _check_cluster(address: str) -> None:
    """Raises RuntimeError if nothing listens at `host:port`. Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():  # such as "auto"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise RuntimeError(f"No Ray cluster responds at {address} ({error}).") from None


def _application(fleet: Fleet, key: str) -> Any:
    gpus = fleet.gpus
    if gpus is None:
        gpus = 1.0 if ray.cluster_resources().get("GPU") else 0.0
    there = ray.cluster_resources()
    for name, wanted in (("GPU", gpus * fleet.workers), ("CPU", fleet.cpus * fleet.workers)):
        if wanted > there.get(name, 0):
            raise RuntimeError(
                f"For --workers {fleet.workers}, Ray needs {wanted:g} {name} but has {there.get(name, 0):g}. Start "
                f"fewer workers, or assign fewer to each (--{name.lower()}s)."
            )
    config = RequestRouterConfig(
        request_router_class=ByWhatIsLoaded, request_router_kwargs={"patience": fleet.patience}
    )
    workers = serve.deployment(Worker).options(
        name=WORKER,
        num_replicas=fleet.workers,
        ray_actor_options={"num_cpus": fleet.cpus, "num_gpus": gpus},
        max_ongoing_requests=100,  # the router limits how many of them are images
        request_router_config=config,
        health_check_period_s=1,
        health_check_timeout_s=PING_SECONDS + 5,
        graceful_shutdown_timeout_s=2,
    )
    door = serve.deployment(FrontDoor).options(
        name="front-door", ray_actor_options={"num_cpus": 0}, max_ongoing_requests=10_000
    )
    cores = None if gpus else fleet.cpus
    most_open = fleet.queue + IMAGES_AT_ONCE * fleet.workers
    bound = workers.bind(fleet.launch, fleet.hang_seconds, cores)
    return door.bind(bound, key, fleet.with_affinity, most_open)
