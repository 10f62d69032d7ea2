"""A LoRA file as the patching needs it: header, architecture and tensors, kept between runs by content."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...lora_resolver import detect_architecture, read_header
from .kept import Kept
from .key_mapping import convert
from .tensor_file import outline_tensors, read_tensors

if TYPE_CHECKING:
    import torch

    from ...lora_resolver import Architecture, SafetensorsHeader


@dataclass(frozen=True)
class LoraFile:
    """One verified file, read."""

    path: Path
    sha256: str
    header: SafetensorsHeader
    tensors: dict[str, torch.Tensor]
    """Under the names that ComfyUI's key maps know."""

    @property
    def size(self) -> int:
        """In bytes."""
        return self.header.file_size

    @cached_property
    def architecture(self) -> Architecture:
        """Judged when somebody asks: a file whose keys all fit is known by its tensors."""
        return detect_architecture(self.header)


def outline(header: SafetensorsHeader, name: str, sha256: str) -> LoraFile:
    """A file of which only the header is known, to see whether it would fit.

    Its tensors have the right shapes and dtypes, hold ones, and take no memory. Raises VerificationFailed as
    `open_lora` does.
    """
    return LoraFile(
        path=Path(name),
        sha256=sha256,
        header=header,
        tensors=convert(outline_tensors(name, header), header.metadata),
    )


_files: Kept[str, LoraFile] = Kept()


def open_lora(path: Path, sha256: str) -> LoraFile:
    """The file, from memory where its content is known already. Raises VerificationFailed for a broken one."""
    known = _files.get(sha256)
    if known is not None:
        return known
    header = read_header(path)
    file = LoraFile(
        path=path,
        sha256=sha256,
        header=header,
        tensors=convert(read_tensors(path, header), header.metadata),
    )
    _files.put(sha256, file, file.size)
    return file
