"""What each picture was made with goes into its metadata, with a browser or without one.

ComfyUI's nodes that save write every member of `extra_pnginfo` into the file. It is a part of the request for a run,
and one and the same dict for all nodes of that run. So each Apply LoRA Array adds its entries there when it runs, and
LoRA Array and Resolve LoRA do so where nodes of other packs load what they found. When
ComfyUI takes its result from the cache it does not run, so what it found is remembered, by all that its result depends
on in the workflow, and is added when the next run is queued.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any

from comfy_execution.utils import get_executing_context

from ...lora_resolver import HANDED_ON, HASHES_NAME, RECORD_NAME, format_record, lora_hashes
from .running import running_server
from .settings import listed_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ...lora_resolver import ResolvedLora

    Rows = Sequence[Mapping[str, Any]]

RECORDING = "AirLoraApply"
HANDING_ON = {"AirLoraArray": frozenset({1}), "AirLoraResolve": frozenset({0, 1})}
"""Our nodes whose files other packs' nodes load → the outputs that name them."""

_OURS = "AirLora"
_ONLY_SHOW = frozenset({"PreviewAny"})
_MOST_KEPT = 500

_known: OrderedDict[str, list[Rows]] = OrderedDict()
_lock = Lock()


def register_picture_records() -> None:
    """Has the running server ask for every run that is queued; does nothing where there is none."""
    server = running_server()
    if server is not None:
        server.add_on_prompt_handler(with_known_records)


def with_known_records(request: dict[str, Any]) -> dict[str, Any]:
    """The body of POST /prompt, with room for records and those that are known, if one of its nodes makes any."""
    workflow = request.get("prompt")
    if not isinstance(workflow, dict):
        return request
    taken = _taken_by_others(workflow)
    recording = [node_id for node_id in workflow if _is_told(workflow, node_id, taken)]
    if not recording:
        return request
    extra = request.get("extra_data")
    extra = request["extra_data"] = extra if isinstance(extra, dict) else {}
    saved = extra.get("extra_pnginfo")
    saved = extra["extra_pnginfo"] = saved if isinstance(saved, dict) else {}
    nodes: dict[str, list[Rows]] = {}
    signatures: dict[str, str] = {}
    with _lock:
        for node_id in recording if _known else ():
            runs = _known.get(_signature(workflow, node_id, signatures))
            if runs:
                nodes[node_id] = list(runs)
    _write(saved, nodes)
    return request


def record_run(hidden: Any, rows: Rows) -> None:
    """Adds the entries of one run of this node; `hidden` are the node's hidden inputs, `rows` those of its report."""
    node_id, workflow, saved = str(hidden.unique_id), hidden.prompt, hidden.extra_pnginfo
    there = isinstance(workflow, dict) and node_id in workflow
    signature = _signature(workflow, node_id, {}) if there else ""
    context = get_executing_context()
    begins = context is None or not context.list_index
    with _lock:
        runs = [] if begins else list(_known.get(signature, ()))
        runs.append(rows)
        if signature:
            _known[signature] = runs
            _known.move_to_end(signature)
            while len(_known) > _MOST_KEPT:
                _known.popitem(last=False)
    if isinstance(saved, dict) and (not there or _is_told(workflow, node_id, _taken_by_others(workflow))):
        _write(saved, {**_rows_in(saved), node_id: runs})


def handed_on(identifier: object, file: ResolvedLora) -> dict[str, Any]:
    """The row of a file that a node of another pack loads; that node alone knows what became of it."""
    return {
        "model": str(identifier),
        "status": HANDED_ON,
        "name": file.record.name if file.record else file.path.stem,
        "sha256": file.sha256,
        "file": listed_name(file.path),
    }


_Taken = dict[str, set[int]]


def _taken_by_others(workflow: Mapping[str, Any]) -> _Taken:
    """Node → numbers of its outputs that nodes of other packs take. Linear in the links."""
    taken: _Taken = {}
    for taker in workflow.values():
        if isinstance(taker, dict) and _is_foreign(str(taker.get("class_type"))):
            for origin, output in _links_into(taker):
                if isinstance(output, int):
                    taken.setdefault(origin, set()).add(output)
    return taken


def _is_told(workflow: Mapping[str, Any], node_id: str, taken: _Taken) -> bool:
    """Whether the node's LoRAs change the picture, and no node behind it tells of them."""
    node = workflow.get(node_id)
    kind = node.get("class_type") if isinstance(node, dict) else None
    if kind == RECORDING:
        return True
    outputs = HANDING_ON.get(str(kind))
    return outputs is not None and not taken.get(node_id, set()).isdisjoint(outputs)


def _links_into(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(node, number of its output) for each input that is a link."""
    for value in _inputs(node).values():
        if isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int)):
            yield str(value[0]), value[1]


def _is_foreign(kind: str) -> bool:
    return not kind.startswith(_OURS) and kind not in _ONLY_SHOW


def _inputs(node: Mapping[str, Any]) -> Mapping[str, Any]:
    inputs = node.get("inputs")
    return inputs if isinstance(inputs, dict) else {}


class _Record(dict[str, Any]):
    """The record as it is saved, and the whole rows that it was made from."""

    nodes: Mapping[str, list[Rows]]


def _rows_in(saved: dict[str, Any]) -> Mapping[str, list[Rows]]:
    record = saved.get(RECORD_NAME)
    return record.nodes if isinstance(record, _Record) else {}


def _write(saved: dict[str, Any], nodes: Mapping[str, list[Rows]]) -> None:
    """Replaces what the request may have brought under our names: it is of another run."""
    saved.pop(RECORD_NAME, None)
    saved.pop(HASHES_NAME, None)
    if not nodes:
        return
    record = _Record(format_record(nodes))
    record.nodes = nodes
    saved[RECORD_NAME] = record
    hashes = lora_hashes(row for runs in nodes.values() for run in runs for row in run)
    if hashes:
        saved[HASHES_NAME] = hashes


def _signature(workflow: Mapping[str, Any], node_id: str, known: dict[str, str]) -> str:
    """Of a node and all nodes before it, with their inputs. `known` are signatures of this workflow's nodes.

    Each node's holds those of the nodes before it, so a whole workflow takes one step for each node.
    """
    waiting = [node_id]
    entered: set[str] = set()
    while waiting:
        current = waiting[-1]
        node = workflow.get(current)
        if current in known or not isinstance(node, dict):
            known.setdefault(current, "")
            waiting.pop()
            continue
        before = [origin for origin, _ in _links_into(node) if origin not in known]
        if before and current not in entered:
            entered.add(current)
            waiting += [
                origin for origin in before if origin not in entered
            ]  # one that is, is part of a circle
            continue
        described = [
            str(node.get("class_type")),
            {name: _plain(value) for name, value in _inputs(node).items()},
            [known.get(origin, origin) for origin, _ in _links_into(node)],
        ]
        known[current] = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
        waiting.pop()
    return known[node_id]


def _plain(value: Any) -> Any:
    """ComfyUI turns 1 and "1" into 1.0 where an input is a FLOAT, after the run was queued."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return value
    try:
        return float(value)
    except (ValueError, OverflowError):
        return value
