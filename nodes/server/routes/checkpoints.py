"""Recognizes the checkpoint that a loader names. Its header is read once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ....lora_resolver import (
    LoraResolverError,
    block_rows,
    detect_checkpoint,
    family_name,
    open_regular,
    read_gguf_header,
    read_header,
    read_pickle_header,
)
from ..settings import model_path

if TYPE_CHECKING:
    from pathlib import Path

    from .guard import Fields

MAX_KEPT = 64


@dataclass(frozen=True)
class KnownCheckpoint:
    """What is known about a checkpoint. `families` is empty if its header doesn't show the family."""

    families: tuple[str, ...]
    blocks: tuple[tuple[str, tuple[int, ...]], ...] = ()
    """Name of a row of blocks → their numbers; empty if the header names them differently."""
    parts: tuple[str, ...] = ()
    """What is in the file besides the diffusion model: "text_encoders", "vae"."""

    def as_dict(self) -> dict[str, Any]:
        """The checkpoint as responses show it."""
        return {
            "families": list(self.families),
            "family_names": [family_name(family) for family in self.families],
            "blocks": [[row, list(numbers)] for row, numbers in self.blocks],
        }


_kept: OrderedDict[tuple[str, int, int], KnownCheckpoint] = OrderedDict()
_lock = threading.Lock()


def named_checkpoint(fields: Fields) -> tuple[str, str] | None:
    """(folder, name) from the request's `checkpoint`, if it has one. Raises Refused."""
    named = fields.object("checkpoint")
    return None if named is None else (named.text("folder", 40), named.text("name", 1000, least=1))


def known_checkpoint(named: tuple[str, str] | None) -> KnownCheckpoint | None:
    """What is known about the checkpoint; None if it doesn't exist or can't be read. Reads the disk.

    Raises InvalidInput for an invalid name.
    """
    path = None if named is None else model_path(*named)
    if path is None:
        return None
    try:
        status = path.stat()
        key = (str(path), status.st_size, status.st_mtime_ns)
        with _lock:
            if key in _kept:
                _kept.move_to_end(key)
                return _kept[key]
        checkpoint = _read(path)
    except (LoraResolverError, OSError):  # an unknown kind of file, or one without read permission
        return None
    with _lock:
        _kept[key] = checkpoint
        while len(_kept) > MAX_KEPT:
            _kept.popitem(last=False)
    return checkpoint


def _read(path: Path) -> KnownCheckpoint:
    with open_regular(path) as file:
        first = file.read(4)
    read = {b"GGUF": read_gguf_header, b"PK\x03\x04": read_pickle_header}.get(first, read_header)
    header = read(path)
    checkpoint = detect_checkpoint(header)
    blocks = tuple(block_rows(header.tensors).items())
    return KnownCheckpoint(checkpoint.families, blocks, tuple(checkpoint.parts))
