"""What a picture was made with, as our nodes write it into ComfyUI's metadata next to the workflow.

    "air_lora"      {"format": 1, "nodes": {"4": [[{"model", "weight", "clip_weight", "transformer", "enabled",
                    "schedule", "blocks", "words", "status", "name", "sha256", "autov2"}, …], …]},
                    "others": [{"node": "7", "class_type": "LoraLoader"}, …]}    other packs' loaders in the workflow
    "Lora hashes"   name: 0123456789, name: …     as A1111 writes it; sites look the hashes up

A node runs once, or once for each value of a list. So each node has a list of runs, and each run has its entries in the
array's order. AutoV2 is CivitAI's name for the first ten hex digits of the SHA-256. Pictures come from anywhere:
content that isn't a record is ignored and is never an error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..array.lenient_json import parse_json
from ..array.lora_array import entry_of_facts
from ..errors import InvalidInput
from ..identifiers.file_names import without_ending

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..array.lora_array import LoraEntry

__all__ = [
    "HANDED_ON",
    "HASHES_NAME",
    "RECORD_NAME",
    "RecordedLora",
    "format_record",
    "lora_hashes",
    "read_record",
]

RECORD_NAME = "air_lora"
HANDED_ON = "handed on"
"""The status of an entry whose file another pack's node loads. Without a weight here, that node's weight applies."""
HASHES_NAME = "Lora hashes"

_FORMAT = 1
_AUTOV2_DIGITS = 10
_MOST_RUNS = 1000
_MOST_OTHERS = 100
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEPT = (
    *("model", "weight", "clip_weight", "transformer", "enabled", "schedule", "blocks", "words"),
    *("status", "name", "sha256"),
)


class RecordedLora(NamedTuple):
    """One entry of a run."""

    entry: LoraEntry
    sha256: str
    """Empty if the entry was disabled and its file wasn't looked up."""


def format_record(
    nodes: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]], others: Sequence[Mapping[str, str]] = ()
) -> dict[str, Any]:
    """Node ID → its runs → rows of a report, as the value of RECORD_NAME. Keeps only the fields of the format above.

    `others` are loaders of other packs that took part: `node`, `class_type`. The record has nothing else about them.
    """
    return {
        **({"others": [dict(each) for each in others[:_MOST_OTHERS]]} if others else {}),
        "format": _FORMAT,
        "nodes": {node: [[_row(row) for row in run] for run in runs] for node, runs in nodes.items()},
    }


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: row[key] for key in _KEPT if key in row}
    if kept.get("sha256"):
        kept["autov2"] = kept["sha256"][:_AUTOV2_DIGITS]
    return kept


def lora_hashes(rows: Iterable[Mapping[str, Any]]) -> str:
    """The text of HASHES_NAME for the rows whose file was applied or passed on, each file once."""
    hashes: dict[str, str] = {}
    for row in rows:
        if row.get("status") in ("applied", HANDED_ON) and row.get("sha256"):
            stem = str(row.get("file") or row.get("name") or row["model"]).rpartition("/")[2]
            name = re.sub(r"[,:\s]+", "_", without_ending(stem))
            hashes.setdefault(row["sha256"][:_AUTOV2_DIGITS], name)
    return ", ".join(f"{name}: {digits}" for digits, name in hashes.items())


def read_record(text: str) -> dict[str, list[RecordedLora]]:
    """Node ID → the entries of its only run. Nodes that ran several times are left out, because their runs differ."""
    try:
        document = parse_json(text) if text else None
    except InvalidInput:
        return {}
    nodes = (
        document.get("nodes") if isinstance(document, dict) and document.get("format") == _FORMAT else None
    )
    if not isinstance(nodes, dict):
        return {}
    found = {}
    for node, runs in list(nodes.items())[:_MOST_RUNS]:
        if isinstance(runs, list) and len(runs) == 1 and isinstance(runs[0], list):
            entries = [_read_row(row, place) for place, row in enumerate(runs[0][:_MOST_RUNS])]
            if None not in entries:
                found[node] = [entry for entry in entries if entry is not None]
    return found


def _read_row(row: object, position: int) -> RecordedLora | None:
    if not isinstance(row, dict):
        return None
    sha256 = row.get("sha256")
    try:
        entry = entry_of_facts(row, f"lora[{position}]")
    except InvalidInput:
        return None
    return RecordedLora(entry, sha256 if isinstance(sha256, str) and _SHA256.fullmatch(sha256) else "")
