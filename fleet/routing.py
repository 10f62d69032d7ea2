"""Sends each task to the worker that has the most of it loaded. For Ray Serve's `request_router_class`.

The base classes are Ray's own (https://docs.ray.io/en/latest/serve/advanced-guides/custom-request-router.html).
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from ray.serve.request_router import MultiplexMixin, PendingRequest, RequestRouter, RunningReplica

from .keys import split

if TYPE_CHECKING:
    from ray.serve.request_router import ReplicaID, ReplicaResult

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

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Ranks of workers. If no worker of one rank accepts the task, those of the next rank are asked."""
        workers = random.sample(candidate_replicas, len(candidate_replicas))
        if pending_request is None or pending_request.metadata.call_method not in MAKE_IMAGES:
            return [workers]
        context = pending_request.routing_context
        context.should_backoff = True
        model_id = pending_request.metadata.multiplexed_model_id
        if not model_id:
            return [[worker for worker in workers if self._images(worker) < IMAGES_AT_ONCE]]
        if not context.multiplexed_start_matching_time:
            context.multiplexed_start_matching_time = time.time()
        waited = time.time() - context.multiplexed_start_matching_time
        ranks = ranked(workers, split(model_id))
        if waited < self._patience:
            ranks = ranks[:1]
        elif waited < IMPATIENT_AFTER * self._patience:
            # Without busy workers: they would have to load the model, and the task would also wait there.
            ranks = [ranks[0], *([each for each in rank if not self._images(each)] for rank in ranks[1:])]
        with_room = [[each for each in rank if self._images(each) < IMAGES_AT_ONCE] for rank in ranks]
        return [rank for rank in with_room if rank]

    def _images(self, worker: RunningReplica) -> int:
        """The worker's number of requests. Almost all of them are images."""
        return self.replica_queue_len_cache.get(worker.replica_id) or 0

    def on_request_routed(
        self, pending_request: PendingRequest, replica_id: ReplicaID, result: ReplicaResult
    ) -> None:
        """Stores nothing, because workers report what they have loaded."""


def ranked(workers: list[Any], keys: tuple[str, ...]) -> list[list[Any]]:
    """Ranks workers by the first key that they have. The rest come last, those with the least loaded first."""
    ranks: list[list[Any]] = [[] for _ in keys]
    rest: dict[int, list[Any]] = {}
    for worker in workers:
        has = worker.multiplexed_model_ids
        level = next((number for number, key in enumerate(keys) if key in has), None)
        if level is None:
            rest.setdefault(len(has), []).append(worker)
        else:
            ranks[level].append(worker)
    return [rank for rank in (*ranks, *(rest[count] for count in sorted(rest))) if rank]
