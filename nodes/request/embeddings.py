"""The embeddings of a request: finds or downloads them, checks them against the text encoder, and adds them to prompts.

A file contains [vectors, width] under `emb_params`, or one tensor for each text encoder (`clip_l`, `clip_g`). ComfyUI
reads `embedding:name` in a prompt, where `name` can include folders (comfy/sd1_clip.py).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...lora_resolver import (
    InvalidInput,
    LoraResolverError,
    Mismatch,
    family_name,
    read_header,
    without_ending,
)
from ..server.model_folders import model_file
from .files import find_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ...lora_resolver import Embedding, Progress

WIDTHS: Mapping[str, frozenset[int]] = {
    "sd1": frozenset({768}),
    "sd2": frozenset({1024}),
    "sdxl": frozenset({768, 1280}),
}
"""Family → widths of its text encoders' tokens, for the families that support embeddings."""


def with_embeddings(
    positive: str,
    negative: str,
    embeddings: Sequence[Embedding],
    families: Sequence[str],
    progress: Callable[[Progress], None],
) -> tuple[str, str]:
    """Both prompts with the embeddings appended. Embeddings with a weight below 0 are appended to the negative prompt.

    `families` are the checkpoint's, if known. Raises Mismatch for an embedding for other text encoders, and the errors
    of finding the file, each with the embedding's place.
    """
    texts: dict[bool, list[str]] = {True: [positive], False: [negative]}
    for each in embeddings:
        if each.weight == 0:
            continue
        try:
            folder, name = find_file(each.identifier, "embedding", progress)
            _check_width(folder, name, families)
        except LoraResolverError as error:
            raise error.at(f"{each.place}.model") from None
        plain = without_ending(name.replace("\\", "/"))
        if re.search(r"[\s(),:]", plain):
            raise InvalidInput(
                f"The file name {plain!r} can't be used in a prompt",
                code="unusableName",
                parameter=f"{each.place}.model",
                remedy="Rename the file so that it has no spaces, commas, colons, or parentheses.",
            )
        strength = abs(each.weight)
        word = f"embedding:{plain}"
        texts[each.weight > 0].append(word if strength == 1 else f"({word}:{strength:g})")
    return ", ".join(filter(None, texts[True])), ", ".join(filter(None, texts[False]))


def _check_width(folder: str, name: str, families: Sequence[str]) -> None:
    wanted = [(family, WIDTHS[family]) for family in families if family in WIDTHS]
    if families and not wanted:
        raise Mismatch(
            f"{family_name(families[0])} doesn't support embeddings",
            code="wrongArchitecture",
            remedy="Use an SD 1.x, SD 2.x, or SDXL checkpoint, or remove the entry.",
        )
    path = model_file(folder, name)
    if not wanted or path is None or path.suffix.lower() not in (".safetensors", ".sft"):
        return
    found = {tensor.shape[-1] for tensor in read_header(path).tensors.values() if tensor.shape}
    if any(found == widths or (found and found <= widths and len(widths) == 1) for _, widths in wanted):
        return
    family, widths = wanted[0]
    raise Mismatch(
        f"{name} has tokens of width {_listed(found)}, but {family_name(family)} has {_listed(widths)}",
        code="wrongArchitecture",
        remedy="Use an embedding that was trained for this checkpoint, or remove the entry.",
    )


def _listed(numbers: set[int] | frozenset[int]) -> str:
    return " and ".join(map(str, sorted(numbers))) or "none"
