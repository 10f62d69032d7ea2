"""Sends each task to the worker that has the most of it loaded. For Ray Serve's `request_router_class`.

The base classes are Ray's own (https://docs.ray.io/en/latest/serve/advanced-guides/custom-request-router.html).
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray.serve.request_router import MultiplexMixin, PendingRequest, RequestRouter, RunningReplica

from .keys import split

if TYPE_CHECKING:
    from ray.serve.request_router import ReplicaID

MAKE_IMAGES = frozenset({"image", "resume"})
"""Methods of a worker that are limited to IMAGES_AT_ONCE. A result or a search doesn't wait for images."""
IMAGES_AT_ONCE = 2
"""A worker generates one image while it looks up the files of the next one."""
PATIENCE = 1.0
"""Seconds that a task waits for a worker that has its model loaded, while others are free. It is about the time that
loading takes. With more, workers are idle. With less, every worker loads every model.
"""
IMPATIENT_AFTER = 30
"""After this many times the patience, a task goes to any worker."""


class ByWhatIsLoaded(MultiplexMixin, RequestRouter):
    """Chooses workers by the first of the task's keys that they have. After `patience`, also chooses idle workers."""

    def initialize_state(self, patience: float = PATIENCE) -> None:
        """`patience` is in seconds, and comes from `request_router_kwargs`."""
        self._patience = patience
        self._assigned: dict[str, _Assigned] = {}

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """One worker with room for the image, or none: then Ray asks again soon. Other tasks may go to any worker.

        The image counts from here on. Ray counts it later, when it has been sent. By then, all images of a burst would
        have gone to the same worker.
        """
        workers = random.sample(candidate_replicas, len(candidate_replicas))
        if pending_request is None or pending_request.metadata.call_method not in MAKE_IMAGES:
            return [workers]
        self._assigned = {
            number: each for number, each in self._assigned.items() if not each.request.future.cancelled()
        }
        context = pending_request.routing_context
        context.should_backoff = True
        if not context.multiplexed_start_matching_time:
            context.multiplexed_start_matching_time = time.time()
        waited = time.time() - context.multiplexed_start_matching_time
        number = pending_request.metadata.internal_request_id
        self._assigned.pop(number, None)  # if Ray asks again, it wasn't sent
        model_id = pending_request.metadata.multiplexed_model_id
        keys = split(model_id) if model_id else ()
        for rank in self._ranks(workers, keys, waited):
            images = {worker: len(self._images(worker)) for worker in rank}
            worker = min(rank, key=images.__getitem__, default=None)
            if worker is not None and images[worker] < IMAGES_AT_ONCE:
                self._assigned[number] = _Assigned(pending_request, worker.replica_id, keys)
                return [[worker]]
        return []

    def on_request_completed(self, replica_id: ReplicaID, internal_request_id: str) -> None:
        """Ray calls this when a request has ended in any way. By then, another worker may already have it."""
        assigned = self._assigned.get(internal_request_id)
        if assigned is not None and assigned.worker == replica_id:
            del self._assigned[internal_request_id]

    def _ranks(
        self, workers: list[RunningReplica], keys: tuple[str, ...], waited: float
    ) -> list[list[RunningReplica]]:
        if not keys:
            return [workers]
        has = {
            worker: worker.multiplexed_model_ids.union(*(each.keys for each in self._images(worker)))
            for worker in workers
        }
        ranks = ranked(has, keys)
        if waited < self._patience:
            return ranks[:1]
        if waited < IMPATIENT_AFTER * self._patience:
            # Without busy workers: they would have to load the model, and the task would also wait there.
            return [ranks[0], *([each for each in rank if not self._images(each)] for rank in ranks[1:])]
        return ranks

    def _images(self, worker: RunningReplica) -> list[_Assigned]:
        """The images that this worker is generating, or that are on their way to it."""
        return [each for each in self._assigned.values() if each.worker == worker.replica_id]


@dataclass(frozen=True)
class _Assigned:
    request: PendingRequest
    worker: ReplicaID
    keys: tuple[str, ...]


def ranked(has: dict[Any, set[str]], keys: tuple[str, ...]) -> list[list[Any]]:
    """Ranks workers by the first key that they have. The rest come last, those with the least loaded first."""
    ranks: list[list[Any]] = [[] for _ in keys]
    rest: dict[int, list[Any]] = {}
    for worker, its in has.items():
        level = next((number for number, key in enumerate(keys) if key in its), None)
        if level is None:
            rest.setdefault(len(its), []).append(worker)
        else:
            ranks[level].append(worker)
    return [rank for rank in (*ranks, *(rest[count] for count in sorted(rest))) if rank]
