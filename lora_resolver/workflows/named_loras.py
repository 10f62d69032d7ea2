"""Everything that identifies LoRAs: an identifier, a `lora` array, a Runware request, a workflow, or its picture.

    workflow, API format     {"12": {"class_type": "AirLoraApply", "inputs": {"lora": "[…]", …}}, …}
    workflow, as saved       {"nodes": […], "links": […]}, see `canvas`
    body of POST /prompt     {"prompt": {…}}
    picture, video, sound    as ComfyUI saved it, see `saved_texts`; what ran counts, not what was on the canvas

From a workflow, these are read: the arrays of our own nodes (node IDs that begin with `AirLora`), written there or
linked from a node that contains the text; and the file names in the LoRA loaders of ComfyUI and of other packs (see
`other_loaders`). A file name becomes a `local:` name, or, if the file isn't on this disk, the source that the workflow
states for it (`properties.models`). A node that looks like a loader but isn't supported is reported as an error (see
`unknown_loaders`).
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO

from ..array.image_request import image_task
from ..array.lenient_json import MAX_CHARACTERS, parse_json
from ..array.lora_array import LoraEntry, parse_lora_array, read_extensions
from ..errors import InvalidIdentifier, InvalidInput, InvalidLoraArray, LoraResolverError, Unavailable
from ..identifiers import parse_identifier
from ..identifiers.file_names import name_finder
from ..text import quoted
from .canvas import is_canvas, nodes_that_run
from .linked_texts import comes_from_us, held_value, is_link, is_ours, linked_array, single_text
from .loader_chains import LoaderChain, chains_of
from .named_for_sites import is_for_sites
from .origins import index_of, origin_of
from .other_loaders import is_known, rows_of_loader, tagged_rows
from .picture_record import RECORD_NAME, read_record
from .saved_texts import TEXT_NAMES, saved_texts
from .unknown_loaders import known_names, signs_of_loras

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..array.block_weights import BlockWeights
    from ..array.schedule import Schedule
    from ..identifiers import Identifier
    from .other_loaders import LoaderRow
    from .picture_record import RecordedLora

__all__ = ["NamedLora", "NamedLoras", "is_like_json", "loras_in", "text_of"]


@dataclass(frozen=True)
class NamedLora:
    """One LoRA, and where it is named."""

    identifier: Identifier
    place: str
    """Such as `workflow.json node 12, lora[1].model`."""
    needed: bool
    """False for an entry that is disabled or has weight zero: its file isn't even looked up."""
    weight: float = 1.0
    """As written in the input. Other programs allow a wider range than an array does."""
    clip_weight: float = 1.0
    enabled: bool = True
    transformer: str = "both"
    schedule: Schedule | None = None
    blocks: BlockWeights | None = None
    words: tuple[str, ...] | None = None
    sha256: str = ""
    """The SHA-256 of the intended file, if a picture's record or the workflow contains it."""
    node: str = ""
    """ID of the workflow's node that names it."""
    file: str = ""
    """The file that its loader looks for, if `identifier` is another name for that file."""
    address: str = ""
    """The file's address in the workflow, if it doesn't belong to one of our sources."""
    weight_known: bool = True
    """False if a node computes the weight in the run. The weight is 1 in that case."""

    def entry(self) -> LoraEntry:
        """The LoRA as an array's entry. Raises InvalidInput for a weight outside the range of an array."""
        return LoraEntry(
            identifier=self.identifier,
            weight=self.weight,
            clip_weight=self.clip_weight,
            enabled=self.enabled,
            transformer=self.transformer,
            schedule=self.schedule,
            blocks=self.blocks,
            words=self.words,
        )


@dataclass(frozen=True)
class NamedLoras:
    """What was found, and what couldn't be read."""

    loras: tuple[NamedLora, ...]
    errors: tuple[LoraResolverError, ...]
    """Each with its place. InvalidInput is an error in the text. Others report what is unknown before the run."""
    nodes: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """For a workflow: the nodes that run, in API format."""

    @cached_property
    def chains(self) -> tuple[LoaderChain, ...]:
        """For a workflow: the nodes whose LoRAs are applied to the same model."""
        return chains_of(self.nodes, [each.node for each in self.loras])


def loras_in(
    content: str | bytes | BinaryIO, name: str = "", local_names: Callable[[], Sequence[str]] = tuple
) -> NamedLoras:
    """Every LoRA in a text or in the content of a file. Places begin with `name`.

    A binary file object is read only as far as needed. Invalid content never raises; it is reported in `errors`.
    `local_names` is called for the files as ComfyUI's loaders list them if a name doesn't include the folder.
    """
    reader = _Reader(name, local_names)
    try:
        if isinstance(content, str):
            reader.read(content)
        else:
            reader.read_file(io.BytesIO(content) if isinstance(content, bytes) else content)
    except InvalidInput as error:
        reader.fail(error)
    return NamedLoras(tuple(reader.loras), tuple(reader.errors), reader.nodes)


_LONGEST_PLACE = 200


class _Reader:
    """Collects the LoRAs of one text or file."""

    def __init__(self, name: str, local_names: Callable[[], Sequence[str]]) -> None:
        self._name = name
        self._local_names = local_names
        self._listed: Sequence[str] | None = None
        self._is_known: Callable[[str], bool] | None = None
        self._find: Callable[[str], str] | None = None
        self.loras: list[NamedLora] = []
        self.errors: list[LoraResolverError] = []
        self.nodes: Mapping[str, Any] = {}

    def fail(self, error: LoraResolverError, node: str = "", where: str = "") -> None:
        """Adds an error with its place in this text or file."""
        self.errors.append(error.at(self._place(node, error.parameter or where)))

    def _add(self, identifier: Identifier, node: str, where: str) -> None:
        self.loras.append(NamedLora(identifier, self._place(node, where), needed=True, node=_id_of(node)))

    def _place(self, node: str, where: str) -> str:
        parts = (f"{self._name} {node}".strip(), where)
        # A key of another program's workflow may have any length, and every message begins with its place.
        short = (part if len(part) <= _LONGEST_PLACE else f"{part[: _LONGEST_PLACE - 1]}…" for part in parts)
        return ", ".join(part for part in short if part)

    def read_file(self, file: BinaryIO) -> None:
        """Raises InvalidInput."""
        texts = saved_texts(file)
        if texts is not None:
            self._read_saved(texts)
        else:
            file.seek(0)
            self.read(text_of(file))

    def _read_saved(self, texts: Mapping[str, str]) -> None:
        faults: list[InvalidInput] = []
        for key in TEXT_NAMES:
            try:
                document = parse_json(texts.get(key, ""))
            except InvalidInput as error:  # the other text may be valid
                faults.append(error)
                continue
            workflow = _workflow_in(document)
            if workflow is not None:
                self._read_workflow(workflow, read_record(texts.get(RECORD_NAME, "")))
                return
        if texts.get(RECORD_NAME) and not faults:
            records = read_record(texts[RECORD_NAME])
            for node, record in records.items():
                self._read_recorded(f"node {node}", record)
            if records:
                return
        if faults:
            raise faults[0]
        raise InvalidInput(
            "The file contains no workflow",
            code="noWorkflow",
            remedy="Use the original file from ComfyUI. Many programs and websites remove the workflow.",
        )

    def read(self, text: str) -> None:
        """Raises InvalidInput."""
        if not _is_json(text):
            self._add(parse_identifier(text), "", "")
            return
        workflow = _workflow_in(_document(text))
        if workflow is not None:
            self._read_workflow(workflow)
        else:
            self._read_array(text)

    def _read_array(self, array: object, node: str = "") -> None:
        try:
            for entry in parse_lora_array(array):
                self._add_entry(entry, node)
        except InvalidLoraArray as faults:
            for error in faults.errors:
                self.fail(error, node)

    def _add_entry(self, entry: LoraEntry, node: str, sha256: str = "") -> None:
        self.loras.append(
            NamedLora(
                identifier=entry.identifier,
                place=self._place(node, f"{entry.place}.model"),
                needed=entry.active,
                weight=entry.weight,
                clip_weight=entry.clip_weight,
                enabled=entry.enabled,
                transformer=entry.transformer,
                schedule=entry.schedule,
                blocks=entry.blocks,
                words=entry.words,
                sha256=sha256,
                node=_id_of(node),
            )
        )

    def _read_recorded(self, node: str, record: Sequence[RecordedLora]) -> None:
        for entry, sha256 in record:
            self._add_entry(entry, node, sha256)

    def _read_workflow(
        self, workflow: Mapping[str, Any], records: Mapping[str, Sequence[RecordedLora]] | None = None
    ) -> None:
        """A record of a node takes precedence over the texts that led to it. Raises InvalidInput for a workflow that
        is too large."""
        nodes = nodes_that_run(workflow) if is_canvas(workflow) else workflow
        recorded = {key: record for key, record in (records or {}).items() if key in nodes}
        told = _nodes_before(recorded, nodes)
        for key, node in nodes.items():
            inputs = node.get("inputs") if isinstance(node, dict) else None
            if not isinstance(inputs, dict):
                continue
            kind = str(node.get("class_type"))
            if key in told or is_for_sites(node):  # covered by a downstream node or by the record
                continue
            if key in recorded:
                self._read_recorded(f"node {key}", recorded[key])
            elif is_ours(node) and kind not in _NO_LORAS:
                self._read_our_node(f"node {key}", kind, inputs, nodes)
            else:
                self._read_loader(key, kind, node, nodes)
        self.nodes = nodes

    def _read_loader(self, key: str, kind: str, node: Mapping[str, Any], nodes: Mapping[str, Any]) -> None:
        inputs: Mapping[str, Any] = node["inputs"]
        if is_known(kind):
            inputs = {
                name: value if comes_from_us(value, nodes) else held_value(value, nodes)
                for name, value in inputs.items()
            }
        models = index_of(node.get("models") or ())
        for row in rows_of_loader(kind, inputs, node.get("properties")):
            if not comes_from_us(row.file, nodes):  # otherwise read from our own node
                self._add_row(row, f"node {key}", models)
        signs = signs_of_loras(kind, node, self._is_listed)
        if signs:
            error = Unavailable(
                f"This node looks like a LoRA loader, but it isn't supported: {signs}",
                code="unknownLoader",
                remedy="Name its LoRAs in a separate list.",
            )
            self.fail(error, f"node {key}, {quoted(kind, 60)[1:-1]}")

    def _read_our_node(
        self, node: str, kind: str, inputs: Mapping[str, Any], nodes: Mapping[str, Any]
    ) -> None:
        first = _FIRST_INPUT.get(kind, "lora")
        for name in dict.fromkeys((first, "lora", "more")):
            # On the canvas, the first widget of each of our nodes is the one with LoRAs.
            value = inputs.get(name, inputs.get("widget 0") if name == first else None)
            if is_link(value):
                if comes_from_us(value, nodes):
                    continue  # read from that node
                link = value
                value = linked_array(link, nodes)
                text = single_text(link, nodes) if value is None and name != "identifier" else None
                if text is not None and (rows := [*tagged_rows(text, ours=True)]):
                    for row in rows:
                        self._add_row(row, node)
                    continue
                if value is None:
                    self.fail(_only_known_later(), node, name)
            if value in (None, "", [], {}):
                continue
            if name == "identifier" and isinstance(value, str):
                self._read_identifier(value, node, name)
            elif name == "request":
                self._read_request(value, inputs.get("task", inputs.get("widget 1")), node)
            else:
                self._read_array(value, node)

    def _read_identifier(self, text: str, node: str, where: str) -> None:
        try:
            self._add(parse_identifier(text), node, where)
        except InvalidIdentifier as error:
            self.fail(error, node, where)

    def _read_request(self, request: object, task: object, node: str) -> None:
        """Reads the LoRAs of the one task that the node uses."""
        try:
            self._read_array(image_task(request, task if isinstance(task, int) else 1), node)
        except InvalidInput as error:
            self.fail(error, node)

    def _add_row(
        self, row: LoaderRow, node: str, models: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Adds a row of another loader, by its file name."""
        file = row.file
        if not isinstance(file, str):
            self.fail(_only_known_later(), node, row.where)
            return
        try:
            identifier = self._identifier_of(row, file)
        except InvalidIdentifier as error:
            # Not an error in the workflow: ComfyUI's own loaders also accept other kinds of files.
            self.fail(Unavailable(error.message, code=error.code, remedy=error.remedy), node, row.where)
            return
        origin = origin_of(file, models or {})
        is_elsewhere = origin.identifier is not None and not self._is_listed(file)
        if origin.identifier is not None and is_elsewhere:
            identifier = origin.identifier
        given = [each for each in row.strengths if each is not None]
        weight = _number(row.strengths[0], 1.0)
        schedule = blocks = None
        if row.extensions:
            try:
                schedule, blocks = read_extensions(dict(row.extensions), weight)
            except InvalidLoraArray as faults:
                self.fail(faults.errors[0], node, row.where)
                return
        self.loras.append(
            NamedLora(
                identifier=identifier,
                place=self._place(node, row.where),
                needed=row.enabled and (not given or any(_number(each, 1.0) != 0 for each in given)),
                weight=weight,
                clip_weight=0.0 if row.model_only else _number(row.strengths[1], weight),
                enabled=row.enabled,
                schedule=schedule,
                blocks=blocks,
                sha256=origin.sha256,
                node=_id_of(node),
                file=file.replace("\\", "/") if is_elsewhere else "",
                address=origin.address,
                weight_known=not any(isinstance(each, list) for each in given),
            )
        )

    def _identifier_of(self, row: LoaderRow, file: str) -> Identifier:
        """Raises InvalidIdentifier."""
        if row.is_identifier:
            return parse_identifier(file)
        return parse_identifier(f"local:{self._found(file) if row.anywhere else file}")

    def _found(self, file: str) -> str:
        if self._find is None:
            self._find = name_finder(self._names())
        return self._find(file)

    def _names(self) -> Sequence[str]:
        if self._listed is None:
            self._listed = self._local_names()
        return self._listed

    def _is_listed(self, file: str) -> bool:
        if self._is_known is None:
            self._is_known = known_names(self._names())
        return self._is_known(file)


def _id_of(node: str) -> str:
    return node.removeprefix("node ")


def _number(value: object, otherwise: float) -> float:
    """A strength. Some packs store it as text. For a link, it isn't known before the run, so returns `otherwise`."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?[0-9]{1,4}(?:\.[0-9]{1,20})?\s*", value):
        return float(value)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else otherwise


# The first input of our nodes whose first input is not an array.
_FIRST_INPUT = {"AirLoraResolve": "identifier", "AirLoraRequest": "request"}
_NO_LORAS = frozenset({"AirLoraGrid", "AirLoraPrompt"})
"""Our nodes whose texts don't contain LoRAs."""

_ARRAY_INPUTS = ("lora", "more", "lora_stack")


def text_of(file: BinaryIO) -> str:
    """All of a file as text. Raises InvalidInput if it is too large or isn't text."""
    data = file.read(MAX_CHARACTERS + 1)
    if len(data) > MAX_CHARACTERS:
        message = f"The file is larger than {MAX_CHARACTERS:,} bytes"
        raise _unreadable(message, "A lora array or a workflow is far smaller.")
    # PowerShell's `>` writes UTF-16 and begins it with a byte order mark.
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        message = f"Byte {error.start} isn't valid {encoding.upper()} text"
        raise _unreadable(message, "Save it as UTF-8.") from None


def is_like_json(text: str) -> bool:
    """Whether a text begins like JSON: with a bracket, a quoted member, or a comment, and not like a path."""
    return text.startswith(("[", "{", '"', "/*")) or (text.startswith("//") and "\n" in text.rstrip())


def _is_json(text: str) -> bool:
    """Whether this is meant as JSON, and not as a single identifier."""
    begin = text.lstrip("\ufeff \t\r\n")
    return not begin or is_like_json(begin) or "\n" in begin.rstrip()


def _document(text: str) -> object:
    try:
        return parse_json(text)
    except InvalidInput:  # the array parser reports the error
        return None


def _workflow_in(document: object) -> Mapping[str, Any] | None:
    """The workflow that a document is, or contains as `prompt` or `workflow`; None if there is none."""
    if not isinstance(document, dict):
        return None
    for each in (document, *(document.get(key) for key in TEXT_NAMES)):
        if isinstance(each, dict) and (is_canvas(each) or any(map(_is_node, each.values()))):
            return each
    return None


def _is_node(value: object) -> bool:
    """Whether this is a node of the API format."""
    return isinstance(value, dict) and "class_type" in value


def _nodes_before(ids: Iterable[str], nodes: Mapping[str, Any]) -> set[str]:
    """Our nodes that an array or a stack comes from."""
    before: set[str] = set()
    waiting = [nodes[key].get("inputs", {}).get(name) for key in ids for name in _ARRAY_INPUTS]
    while waiting:
        link = waiting.pop()
        key = str(link[0]) if is_link(link) else ""
        if key and key not in before and isinstance(nodes.get(key), dict):
            before.add(key)
            inputs = nodes[key].get("inputs")
            waiting += inputs.values() if isinstance(inputs, dict) else ()
    return {key for key in before if is_ours(nodes[key])}


def _only_known_later() -> Unavailable:
    return Unavailable(
        "The text comes from another node and isn't known until the workflow runs",
        code="computedText",
        remedy="Name its LoRAs in a separate list.",
    )


def _unreadable(message: str, remedy: str) -> InvalidInput:
    return InvalidInput(message, code="unreadableInput", remedy=remedy)
