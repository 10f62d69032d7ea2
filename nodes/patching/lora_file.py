"""A LoRA file for patching: header, architecture, and tensors. Files are cached between runs, by their content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import comfy.lora_convert

from ...lora_resolver import (
    VerificationFailed,
    alphas_of_metadata,
    detect_architecture,
    parse_header,
    read_header,
    split_name,
)
from .bounded_cache import BoundedCache
from .interruptible import interruptible
from .modules import sort_into_modules
from .other_names import has_joint_attention
from .tensor_file import outline_tensors, read_content, read_tensors

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from ...lora_resolver import Architecture, FileState, MetadataAlphas, SafetensorsHeader
    from .modules import Module
    from .tensor_file import Content


@dataclass(frozen=True)
class LoraFile:
    """One verified file that was read into memory."""

    path: Path
    sha256: str
    header: SafetensorsHeader
    tensors: dict[str, torch.Tensor]
    """By their names in the file, or by those that ComfyUI's converters give them."""
    has_values: bool = True
    """False for an outline: the shapes are those of the file, but the numbers aren't."""

    @property
    def size(self) -> int:
        """In bytes."""
        return self.header.file_size

    @cached_property
    def architecture(self) -> Architecture:
        """The detected architecture. It is computed only when it is read: if all keys match, it isn't needed."""
        return detect_architecture(self.header)

    @cached_property
    def alphas(self) -> MetadataAlphas:
        """The scale (alpha) that the metadata gives."""
        return alphas_of_metadata(self.header.metadata)

    @cached_property
    def modules(self) -> dict[str, Module]:
        """The tensors, grouped by module."""
        return self._sorted[0]

    @cached_property
    def has_joint_attention(self) -> bool:
        """Whether the file is for a transformer whose blocks have one attention for picture and text."""
        return has_joint_attention(self.modules)

    @property
    def other_tensors(self) -> dict[str, str]:
        """Tensors that aren't part of an adapter, and why."""
        return self._sorted[1]

    @cached_property
    def _sorted(self) -> tuple[dict[str, Module], dict[str, str]]:
        return sort_into_modules(self.tensors)


def outline(header: SafetensorsHeader, name: str, sha256: str) -> LoraFile:
    """A LoraFile from the header alone, to check whether the file would match.

    Its tensors have the right shapes and dtypes, contain ones, and take no memory. Raises VerificationFailed as
    `open_lora` does.
    """
    return LoraFile(
        path=Path(name),
        sha256=sha256,
        header=header,
        tensors=_converted(outline_tensors(name, header)),
        has_values=False,
    )


_MATRIX = 2
_files: BoundedCache[str, LoraFile] = BoundedCache()


def open_lora(
    path: Path, sha256: str, state: FileState | None = None, header: SafetensorsHeader | None = None
) -> LoraFile:
    """The file, from the cache if its content was read before.

    `state` is the state in which the file is known to have this SHA-256, and `header` is its header in that state. If
    the file is in another state now, its content is hashed.
    Raises VerificationFailed for a broken file or one whose content has changed, and StorageFailed for one that can't
    be read.
    """
    known = _files.get(sha256)
    if known is not None:
        return known
    header, content = interruptible(lambda: _read(path, sha256, state, header))
    if content is None:
        return outline(header, path.name, sha256)
    file = LoraFile(
        path=path,
        sha256=sha256,
        header=header,
        tensors=_converted(read_tensors(content, header, path.name)),
    )
    _files.put(sha256, file, file.size)
    return file


def _read(
    path: Path, sha256: str, state: FileState | None, header: SafetensorsHeader | None
) -> tuple[SafetensorsHeader, Content | None]:
    """The header and the content.

    If the file isn't a LoRA, its content isn't read: the file will be rejected, and might be larger than the memory.
    """
    if header is None or state is None:
        header = read_header(path)
    if not any(split_name(name)[1] for name in header.tensors):
        return header, None
    content, now = read_content(path, header.file_size)
    if now is None or now != state:
        _check_content(content, header.file_size, sha256, path.name)
        header = parse_header(content[: header.data_start], header.file_size)
    return header, content


def _check_content(content: Content, size: int, sha256: str, file_name: str) -> None:
    with memoryview(content) as whole:
        digest = hashlib.sha256(whole[:size]).hexdigest()
    if digest != sha256:
        raise VerificationFailed(
            f"{file_name} changed after it was verified: its SHA-256 is now {digest}, not {sha256}",
            code="fileChanged",
            remedy="Run again to verify the changed file.",
        )


def _converted(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of BFL's control LoRAs, USO and Wan Fun, renamed by ComfyUI's converter.

    An incomplete control LoRA stays as it is, because ComfyUI's converter fails on it. It is rejected later, with an
    error that names the module.
    """
    control = tensors.get("img_in.lora_A.weight"), tensors.get("img_in.lora_B.weight")
    if control[0] is not None and any(factor is None or factor.dim() < _MATRIX for factor in control):
        return dict(tensors)
    return comfy.lora_convert.convert_lora(dict(tensors))
