"""Reads `<lora:name:0.7>`, the tags for LoRAs in other programs' prompts.

Two numbers are the model's weight and the text encoder's in ComfyUI's packs, SwarmUI, and Lora Manager. A1111 and Forge
use the opposite order (extra_networks_lora.py: `<lora:name:te:unet>`). Both also accept `te=` and `unet=` by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..identifiers.file_names import listed_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["PromptTag", "prompt_tags", "tags_as_array", "without_prompt_tags"]

_TAG = re.compile(r"<\s*(?:lora|lyco|lycoris)\s*:(?P<inside>[^<>\n]{1,700})>", re.IGNORECASE)
_NUMBER = re.compile(r"\s*[-+]?(?:[0-9]{1,3}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})\s*")
# Not `local:0.7`: a file may be called "local".
_IDENTIFIER = re.compile(
    r"\s*(?:(?:urn:)?air:[\w.-]+:|civitai:@?[0-9]|(?:huggingface|hf):[\w.-]+/|sha256:[0-9a-f]{64}"
    r"|local:[^:]+\.(?:safetensors|sft)|https?://)",
    re.IGNORECASE,
)


_BLOCKS = re.compile(
    r"(?:SD-|SDXL-)?(?:NONE|ALL(?:0\.5)?|INS|IND|INALL|MIDD|OUTD|OUTS|OUTALL|FACE|PALETTE)|[-+0-9.]+(?:,[-+0-9.ABRUX]+){6,}[;AB=0-9.\s]*",
    re.IGNORECASE,
)
_OPTIONS = frozenset({"unet", "te", "lbw", "start", "stop", "end", "step", "loader"})


@dataclass(frozen=True)
class PromptTag:
    """One tag of a prompt."""

    name: str
    """A file's name without its extension; an identifier if `is_identifier`."""
    numbers: tuple[float, ...] = ()
    named: dict[str, str] = field(default_factory=dict)
    """Its options: `unet`, `te`, `lbw`, `start`, …"""
    is_identifier: bool = False
    unread: str = ""
    """The parts that are neither a number nor an option."""

    @property
    def weights(self) -> tuple[float, ...]:
        """The model's weight and the text encoder's, as many as are given, if the model's comes first in the tag."""
        return self._with_named(self.numbers[:2])

    @property
    def weights_of_a1111(self) -> tuple[float, ...]:
        """The same, if the text encoder's comes first in the tag."""
        return self._with_named(self.numbers[1::-1])

    @property
    def ignored(self) -> tuple[str, ...]:
        """Its options that aren't supported."""
        return tuple(key for key in self.named if key not in _OPTIONS)

    def extensions(self) -> dict[str, object]:
        """Its options for steps and blocks, as members of an array's entry.

        `lbw=NAME` or `lbw=1,0,…`; `start=`, `stop=` and `step=a-b`. Whole numbers are steps, others are fractions of
        all steps: https://github.com/hako-mikan/sd-webui-lora-block-weight
        """
        found: dict[str, object] = {}
        if "lbw" in self.named:
            found["blocks"] = self.named["lbw"].strip()
        first, _, last = self.named.get("step", "").partition("-")
        span = {
            "start": self.named.get("start", first),
            "end": self.named.get("stop", self.named.get("end", last)),
        }
        written = {key: text.strip() for key, text in span.items() if text.strip()}
        if not written:
            return found
        for key, text in written.items():
            found[key] = float(text) if _NUMBER.fullmatch(text) else text
        if all(text.isdigit() for text in written.values()) and written.get("end") != "1":
            found["count"] = "numbers"
        return found

    def _with_named(self, weights: tuple[float, ...]) -> tuple[float, ...]:
        model, text_encoder = self.named.get("unet", ""), self.named.get("te", "")
        if not _NUMBER.fullmatch(model) and not _NUMBER.fullmatch(text_encoder):
            return weights
        first = float(model) if _NUMBER.fullmatch(model) else weights[0] if weights else 1.0
        second = float(text_encoder) if _NUMBER.fullmatch(text_encoder) else weights[-1] if weights else 1.0
        return first, second


def prompt_tags(text: str) -> Iterator[PromptTag]:
    """Every `<lora:name:0.7>` in a prompt."""
    for match in _TAG.finditer(text):
        tag = _read(match["inside"])
        if tag is not None:
            yield tag


def tags_as_array(text: str, local_names: Callable[[], Sequence[str]]) -> list[dict[str, object]] | None:
    """The `lora` array for a prompt's tags; None for a text without tags, and for JSON.

    A name may omit the folder and the extension: `local_names` are the files as ComfyUI's loaders list them.
    """
    if "<" not in text or text.lstrip("\ufeff \t\r\n")[:1] in ("[", "{", '"', "/"):
        return None
    entries: list[dict[str, object]] = []
    for tag in prompt_tags(text):
        name = tag.name if tag.is_identifier else f"local:{listed_name(tag.name, local_names())}"
        weights = tag.weights or (1.0,)
        clip = {"clip_weight": weights[1]} if len(weights) > 1 else {}
        entries.append({"model": name, "weight": weights[0], **clip, **tag.extensions()})
    return entries or None


def without_prompt_tags(text: str) -> str:
    """A prompt without its tags."""
    return _TAG.sub(" ", text)


def _read(inside: str) -> PromptTag | None:
    parts = inside.split(":")
    is_identifier = bool(_IDENTIFIER.match(inside))
    length = 1
    if is_identifier:
        length = len(parts)
        while length > 1 and (_NUMBER.fullmatch(parts[length - 1]) or _is_option(parts[length - 1])):
            length -= 1
    name = ":".join(parts[:length]).strip()
    options = dict(part.split("=", 1) for part in map(str.strip, parts[length:]) if _is_option(part))
    numbers = tuple(float(part) for part in parts[length:] if _NUMBER.fullmatch(part))
    unread = [
        part
        for part in parts[length:]
        if part.strip() and not _NUMBER.fullmatch(part) and not _is_option(part)
    ]
    if not name or len(name) > 500:
        return None
    named = {key.strip().lower(): value for key, value in options.items()}
    blocks = [part.strip() for part in unread if _BLOCKS.fullmatch(part.strip())]
    if blocks:  # LoRA Block Weight accepts them without `lbw=`; numbers take precedence over a preset
        named["lbw"] = blocks[-1]
        unread = [part for part in unread if part.strip() not in blocks]
    return PromptTag(name, numbers, named, is_identifier, ":".join(unread))


def _is_option(part: str) -> bool:
    return bool(re.match(r"\s*\w+\s*=", part))
