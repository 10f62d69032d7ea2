"""What each picture was made with goes into its metadata, with a browser or without one.

ComfyUI's nodes that save write every member of `extra_pnginfo` into the file; ComfyUI takes it from the request's
`extra_data` for each node that asks. So the request gets an `extra_data` of ours, which adds the records when a node
asks: of the prompt as it runs, whatever other packs' hooks have made of it. Apply LoRA Array remembers its entries when
it runs, and LoRA Array and Resolve LoRA do so where nodes of other packs load what they found, by all that their result
depends on in the workflow: when ComfyUI takes a result from the cache, nothing runs.

Where the request has no `extra_pnginfo`, ComfyUI's own nodes and ours alone get one: others may take it for a sign that
there is a workflow in it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any

from comfy_execution.utils import get_executing_context

from ...lora_resolver import (
    HANDED_ON,
    HASHES_NAME,
    RECORD_NAME,
    format_record,
    loaders_of_others,
    lora_hashes,
)
from .running import running_server
from .settings import listed_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ...lora_resolver import ResolvedLora

    Rows = Sequence[Mapping[str, Any]]

RECORDING = frozenset({"AirLoraApply", "AirLoraHooks"})
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
    """The body of POST /prompt, whose nodes will find records if one of them makes any."""
    workflow = request.get("prompt")
    if not isinstance(workflow, dict):
        return request
    taken = _taken_by_others(workflow)
    if any(_is_told(workflow, node_id, taken) for node_id in workflow):
        extra = request.get("extra_data")
        request["extra_data"] = ExtraData(extra if isinstance(extra, dict) else {})
    return request


class ExtraData(dict[str, Any]):
    """A run's `extra_data`, as the request gives it; a node that asks for `extra_pnginfo` gets the records as well."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self.ran: dict[str, list[Rows]] = {}
        """What ran that is not in the prompt: nodes that other nodes were expanded to."""

    def copy(self) -> ExtraData:
        """ComfyUI makes one before the run."""
        made = ExtraData(self)
        made.ran = self.ran
        return made

    def get(self, key: str, default: Any = None) -> Any:
        """As a dict's. ComfyUI's `get_input_data` asks here for each node; who asks is in its own variables."""
        given = super().get(key, default)
        if key != "extra_pnginfo":
            return given
        asking = sys._getframe(1).f_locals
        dynprompt, node = asking.get("dynprompt"), asking.get("class_def")
        workflow = getattr(dynprompt, "original_prompt", None)
        if not isinstance(workflow, dict) or not (isinstance(given, dict) or _knows_of_records(node)):
            return given
        return self._with_records(given if isinstance(given, dict) else {}, workflow)

    def _with_records(self, given: dict[str, Any], workflow: dict[str, Any]) -> _Saved:
        taken = _taken_by_others(workflow)
        nodes: dict[str, list[Rows]] = dict(self.ran)
        signatures: dict[str, str] = {}
        with _lock:
            for node_id in workflow if _known else ():
                if _is_told(workflow, node_id, taken):
                    runs = _known.get(_signature(workflow, node_id, signatures))
                    if runs:
                        nodes[node_id] = list(runs)
        saved = _Saved(given)
        saved.extra = self
        _write(saved, nodes, loaders_of_others(workflow) if nodes else ())
        return saved


class _Saved(dict[str, Any]):
    """An `extra_pnginfo` with records, and the `extra_data` that it is a part of."""

    extra: ExtraData


def _knows_of_records(node: Any) -> bool:
    """Whether this class is ComfyUI's own or ours: it takes an `extra_pnginfo` without a workflow in it."""
    of_pack = str(getattr(node, "RELATIVE_PYTHON_MODULE", "nodes")).startswith("custom_nodes.")
    return not of_pack or str(getattr(node, "__module__", "")).startswith(f"{_OUR_PACKAGE}.")


_OUR_PACKAGE = __name__.rpartition(".nodes.")[0]


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
    if isinstance(saved, _Saved):
        if not there:
            saved.extra.ran[node_id] = runs
    elif isinstance(saved, dict) and (not there or _is_told(workflow, node_id, _taken_by_others(workflow))):
        _write(saved, {**_rows_in(saved), node_id: runs})  # somebody has replaced our `extra_data`


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
    if kind in RECORDING:
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


def _write(
    saved: dict[str, Any], nodes: Mapping[str, list[Rows]], others: Sequence[Mapping[str, str]] = ()
) -> None:
    """Replaces what the request may have brought under our names: it is of another run."""
    saved.pop(RECORD_NAME, None)
    saved.pop(HASHES_NAME, None)
    if not nodes:
        return
    record = _Record(format_record(nodes, others))
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
