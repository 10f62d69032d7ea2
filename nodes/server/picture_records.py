"""Records in each picture's metadata what it was made with. This works with or without a browser.

ComfyUI's save nodes write every member of `extra_pnginfo` into the file. ComfyUI reads it from the request's
`extra_data` for each node that asks for it. This module replaces `extra_data` with its own object, which adds the
records when a node asks. They describe the prompt as it runs, including what other packs' hooks have changed.

Apply LoRA Array stores its entries when it runs. LoRA Array and Resolve LoRA do the same if nodes of other packs load
what they found. The entries are stored under a signature of everything in the workflow that the result depends on,
because no node runs when ComfyUI takes a result from its cache.

If the request has no `extra_pnginfo`, only ComfyUI's own nodes and this pack's get one. Other nodes might assume that
it contains a workflow.
"""

from __future__ import annotations

import hashlib
import json
import logging
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
    is_for_sites,
    loaders_of_others,
    lora_hashes,
    strongest_rows,
    with_loaders_for_sites,
)
from .running import running_server
from .settings import listed_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ...lora_resolver import ResolvedLora

    Rows = Sequence[Mapping[str, Any]]

RECORDING = frozenset({"AirLoraApply", "AirLoraHooks"})
HANDING_ON = {"AirLoraArray": frozenset({1}), "AirLoraResolve": frozenset({0, 1})}
"""This pack's nodes whose files other packs' nodes can load → the outputs with the file names."""

_OURS = "AirLora"
_log = logging.getLogger(__name__)
_ONLY_SHOW = frozenset({"PreviewAny"})
_MOST_KEPT = 500

_known: OrderedDict[str, list[Rows]] = OrderedDict()
_lock = Lock()


def register_picture_records() -> None:
    """Has the running server call `with_known_records` for every queued run. Does nothing without a server."""
    server = running_server()
    if server is not None:
        server.add_on_prompt_handler(with_known_records)


def with_known_records(request: dict[str, Any]) -> dict[str, Any]:
    """The body of POST /prompt. If one of its nodes makes records, its `extra_data` becomes an `ExtraData`."""
    workflow = request.get("prompt")
    if not isinstance(workflow, dict):
        return request
    for key in [key for key, node in workflow.items() if is_for_sites(node)]:
        del workflow[key]  # it came with a saved picture's prompt, and describes another run
    taken = _taken_by_others(workflow)
    if any(_is_told(workflow, node_id, taken) for node_id in workflow):
        extra = request.get("extra_data")
        request["extra_data"] = ExtraData(extra if isinstance(extra, dict) else {})
    return request


class ExtraData(dict[str, Any]):
    """The `extra_data` of a request. A node that asks for `extra_pnginfo` also gets the records."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self.ran: dict[str, list[Rows]] = {}
        """Rows of nodes that ran but aren't in the prompt, because other nodes were expanded to them."""

    def copy(self) -> ExtraData:
        """A copy that shares `ran`. ComfyUI makes one before the run."""
        made = ExtraData(self)
        made.ran = self.ran
        return made

    def get(self, key: str, default: Any = None) -> Any:
        """Like `dict.get`. ComfyUI's `get_input_data` calls it for each node; its local variables show which node."""
        given = super().get(key, default)
        if key != "extra_pnginfo":
            return given
        asking = sys._getframe(1).f_locals
        dynprompt, node = asking.get("dynprompt"), asking.get("class_def")
        workflow = getattr(dynprompt, "original_prompt", None)
        if not isinstance(workflow, dict) or not (isinstance(given, dict) or _knows_of_records(node)):
            return given
        saved = self._with_records(given if isinstance(given, dict) else {}, workflow)
        saved.pictures = _pictures_of(node, asking.get("input_data_all") or {})
        if _is_core_s(node) and saved.nodes:
            try:
                _name_for_sites(asking, workflow, saved)
            except Exception as error:  # it must not cost the picture
                _log.warning(
                    "[AIR LoRA] Couldn't add the LoRAs of an image to its CivitAI metadata: %s", error
                )
        return saved

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
        saved.extra, saved.nodes = self, nodes
        saved.others = loaders_of_others(workflow) if nodes else ()
        _write(saved, nodes, saved.others)
        return saved


class _Saved(dict[str, Any]):
    """An `extra_pnginfo` with records, and the `extra_data` that it is a part of.

    A node that runs once for each picture of a list gets one `extra_pnginfo` for all of them. While it runs for one
    picture, the records are those of that picture's own run.
    """

    extra: ExtraData
    nodes: Mapping[str, list[Rows]]
    others: Sequence[Mapping[str, str]] = ()
    pictures: int = 1
    _of_pictures: dict[int, dict[str, Any]]

    def _now(self) -> dict[str, Any]:
        now = dict(super().items())  # each time, because nodes of other packs may have changed it
        context = get_executing_context() if self.pictures > 1 else None
        number = None if context is None else context.list_index
        if number is None or not 0 <= number < self.pictures:
            return now
        records: dict[int, dict[str, Any]] = self.__dict__.setdefault("_of_pictures", {})
        if number not in records:
            records[number] = {}
            _write(records[number], _runs_of_picture(self.nodes, number, self.pictures), self.others)
        for name in (RECORD_NAME, HASHES_NAME):
            if name in now:
                del now[name]
                now |= {name: records[number][name]} if name in records[number] else {}
        return now

    def __getitem__(self, key: str) -> Any:
        return self._now()[key]

    def get(self, key: str, default: Any = None) -> Any:
        return self._now().get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._now()

    def __iter__(self) -> Iterator[str]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def keys(self) -> Any:
        return self._now().keys()

    def values(self) -> Any:
        return self._now().values()

    def items(self) -> Any:
        return self._now().items()


def _pictures_of(node: Any, inputs: Mapping[str, Any]) -> int:
    """How often ComfyUI runs the node: once for each item of its longest list, unless it takes whole lists."""
    if getattr(node, "INPUT_IS_LIST", False):
        return 1
    return max((len(each) for each in inputs.values() if isinstance(each, list)), default=1)


def _runs_of_picture(nodes: Mapping[str, list[Rows]], number: int, pictures: int) -> dict[str, list[Rows]]:
    """The run of each node that a picture of a list comes from; all runs of a node that ran another number of times."""
    return {
        node: [several[number]] if len(several) == pictures else list(several)
        for node, several in nodes.items()
    }


def _name_for_sites(asking: Mapping[str, Any], workflow: dict[str, Any], saved: _Saved) -> None:
    """Gives ComfyUI's own save node a prompt in which CivitAI finds the LoRAs. The workflow that runs doesn't change.

    `asking` are the local variables of `get_input_data`, which has already added the prompt when it asks for the rest.
    Only nodes upstream of the save node count. If the save node runs once for each picture of a list, each picture
    gets the prompt of its own run. A picture of several runs, such as a sheet, names every LoRA with its strongest
    weight. A V3 node has one prompt for all pictures.
    """
    inputs: dict[str, Any] = asking.get("input_data_all") or {}
    hidden: dict[Any, Any] = asking.get("hidden_inputs_v3") or {}
    nodes, pictures = saved.nodes, saved.pictures
    before = _before(workflow, {str(asking.get("unique_id")), *nodes})
    seen = before[str(asking.get("unique_id"))]
    runs = {
        node: several for node, several in nodes.items() if several and (node in seen or node not in workflow)
    }
    if not runs:
        return
    given = [
        key
        for key, value in inputs.items()
        if isinstance(value, list) and len(value) == 1 and value[0] is workflow
    ]
    named = [
        with_loaders_for_sites(
            workflow,
            {
                node: several[0] if len(several) == 1 else strongest_rows(several)
                for node, several in _runs_of_picture(runs, number, pictures).items()
            },
            before,
        )
        for number in range(pictures)
    ]
    for key in given:
        inputs[key] = named
    alike = {json.dumps(each, sort_keys=True, default=str) for each in named}
    for key, value in hidden.items():
        if value is workflow and len(alike) == 1:
            hidden[key] = named[0]


def _before(workflow: Mapping[str, Any], node_ids: set[str]) -> dict[str, set[str]]:
    """Each of these nodes → all nodes that its inputs come from, directly or indirectly."""
    found: dict[str, set[str]] = {}
    for node_id in node_ids:
        seen: set[str] = set()
        waiting = [node_id]
        while waiting:
            node = workflow.get(waiting.pop())
            if isinstance(node, dict):
                new = {origin for origin, _ in _links_into(node)} - seen
                seen |= new
                waiting += new
        found[node_id] = seen
    return found


def _is_core_s(node: Any) -> bool:
    """Whether this class is ComfyUI's own."""
    return not str(getattr(node, "RELATIVE_PYTHON_MODULE", "nodes")).startswith("custom_nodes.")


def _knows_of_records(node: Any) -> bool:
    """Whether this class is ComfyUI's own or this pack's, and so accepts an `extra_pnginfo` without a workflow."""
    return _is_core_s(node) or str(getattr(node, "__module__", "")).startswith(f"{_OUR_PACKAGE}.")


_OUR_PACKAGE = __name__.rpartition(".nodes.")[0]


def record_run(hidden: Any, rows: Rows) -> None:
    """Stores the entries of one run of this node. `hidden` are its hidden inputs, `rows` the rows of its report."""
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
        _write(saved, {**_rows_in(saved), node_id: runs})  # our `extra_data` has been replaced


def handed_on(identifier: object, file: ResolvedLora) -> dict[str, Any]:
    """The row of a file that another pack's node loads. Only that node knows how the file was used."""
    return {
        "model": str(identifier),
        "status": HANDED_ON,
        "name": file.record.name if file.record else file.path.stem,
        "sha256": file.sha256,
        "file": listed_name(file.path),
        "architecture": list(file.architecture.families),
        **({"published_as": file.record.identifier} if file.record else {}),
    }


_Taken = dict[str, set[int]]


def _taken_by_others(workflow: Mapping[str, Any]) -> _Taken:
    """Node → indexes of its outputs that are linked to other packs' nodes. Linear in the number of links."""
    taken: _Taken = {}
    for taker in workflow.values():
        if isinstance(taker, dict) and _is_foreign(str(taker.get("class_type"))):
            for origin, output in _links_into(taker):
                if isinstance(output, int):
                    taken.setdefault(origin, set()).add(output)
    return taken


def _is_told(workflow: Mapping[str, Any], node_id: str, taken: _Taken) -> bool:
    """Whether the node's LoRAs are to be recorded: they change the picture, and no later node records them."""
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
    """The record as it is saved, and the complete rows that it was made from."""

    nodes: Mapping[str, list[Rows]]


def _rows_in(saved: dict[str, Any]) -> Mapping[str, list[Rows]]:
    record = saved.get(RECORD_NAME)
    return record.nodes if isinstance(record, _Record) else {}


def _write(
    saved: dict[str, Any], nodes: Mapping[str, list[Rows]], others: Sequence[Mapping[str, str]] = ()
) -> None:
    """Adds the records. Replaces those that came with the request, which describe another run."""
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
    """The signature of a node and all nodes upstream, with their inputs. `known` are this workflow's signatures so far.

    Each signature includes those of the nodes directly upstream, so a whole workflow takes one step for each node.
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
            ]  # entered ones are part of a cycle
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
    """The value, as a float if possible: after the run is queued, ComfyUI turns 1 and "1" of a FLOAT input into 1.0."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return value
    try:
        return float(value)
    except (ValueError, OverflowError):
        return value
