"""Summarizes which parts of a file change nothing: how many layers of which kind, and why."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...lora_resolver import place_of, split_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# The first pattern that matches a module's name is the kind of its layer.
_KINDS = (
    ("embedding", re.compile(r"bundle_emb")),
    ("norm", re.compile(r"norm(?!.*(?:linear|proj|mod))|layernorm", re.IGNORECASE)),
    (
        "modulation",
        re.compile(r"adaln|modulation|_mod(?:[._]|$)|norm.*linear|shift|scale_shift", re.IGNORECASE),
    ),
    ("attention", re.compile(r"attn|attention|to_[qkv]|qkv|transformer_layers?_\d+_[qkvo]_", re.IGNORECASE)),
    (
        "feed-forward",
        re.compile(
            r"mlp|(?:^|[._])ffn?(?:[._]|$)|feed_?forward|experts|linear[12]|proj_mlp|fc[12]", re.IGNORECASE
        ),
    ),
    ("convolution", re.compile(r"conv|resnet|res_?block|in_layers|out_layers|[ud]p_?sampl", re.IGNORECASE)),
)


@dataclass(frozen=True)
class LeftOver:
    """Tensors of one kind of layer that change nothing, for one reason."""

    kind: str
    """ "attention", "feed-forward", "modulation", "norm", "convolution", "text encoder", "embedding" or "other"."""
    reason: str
    """A phrase that follows the name of a tensor."""
    keys: int
    modules: int
    """How many modules of this kind the tensors belong to."""
    of: int
    """How many modules of this kind the file has."""
    example: str

    def __str__(self) -> str:
        layers = f"{self.kind} {'layer' if self.modules == 1 else 'layers'}"
        if self.kind in ("embedding", "text encoder"):
            layers = "embeddings" if self.kind == "embedding" else "text-encoder layers"
        keys = "key" if self.keys == 1 else "keys"
        count = f"all {self.of}" if self.modules == self.of > 1 else f"{self.modules} of {self.of}"
        return f"{count} {layers} ({self.keys} {keys}): {self.example} {self.reason}"

    def as_dict(self) -> dict[str, str | int]:
        """For a report."""
        return {
            "kind": self.kind,
            "reason": self.reason,
            "keys": self.keys,
            "modules": self.modules,
            "of": self.of,
            "example": self.example,
            "text": str(self),
        }


def left_over(unused: Mapping[str, str], stems: Iterable[str]) -> tuple[LeftOver, ...]:
    """Summarizes the tensors of `unused` (name → reason); `stems` are all modules of the file."""
    if not unused:
        return ()
    keys: Counter[tuple[str, str]] = Counter()
    modules: dict[tuple[str, str], set[str]] = {}
    examples: dict[tuple[str, str], str] = {}
    of: Counter[str] = Counter(_kind(stem) for stem in stems)
    for name, reason in unused.items():
        stem = split_name(name)[0] or name
        group = _kind(stem), reason
        keys[group] += 1
        modules.setdefault(group, set()).add(stem)
        examples.setdefault(group, name)
    found = []
    for (kind, reason), count in keys.items():
        here = len(modules[kind, reason])
        found.append(LeftOver(kind, reason, count, here, max(of[kind], here), examples[kind, reason]))
    return tuple(sorted(found, key=lambda each: -each.keys))


def _kind(stem: str) -> str:
    if place_of(stem).slot:
        return "text encoder"
    return next((kind for kind, pattern in _KINDS if pattern.search(stem)), "other")
