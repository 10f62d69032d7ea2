"""Which of a workflow's LoRA nodes act on the same model, so that one array can replace all of them.

checkpoint ─▶ A ─▶ B ─▶ sampler        one chain, A and B
              └──────▶ sampler         a second chain, only A
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["LoaderChain", "chains_of"]


@dataclass(frozen=True)
class LoaderChain:
    """Nodes whose LoRAs are applied to the same model."""

    nodes: tuple[str, ...]
    """Their IDs, beginning at the checkpoint."""
    kinds: tuple[str, ...]
    """Their classes, in the same order."""


def chains_of(nodes: Mapping[str, Any], loaders: Iterable[str]) -> tuple[LoaderChain, ...]:
    """The chains that these loaders form, in the workflow's order. `nodes` are in API format."""
    named = dict.fromkeys(loaders)
    before = {key: _links_in(node, nodes) for key, node in nodes.items()}
    behind: dict[str, list[str]] = {}
    for key, origins in before.items():
        for origin in origins:
            behind.setdefault(origin, []).append(key)
    chains = dict.fromkeys(
        _upstream(key, before, named) for key in named if key in nodes and _ends(key, behind, named)
    )
    return tuple(
        LoaderChain(chain, tuple(str(nodes[key].get("class_type")) for key in chain)) for chain in chains
    )


def _links_in(node: Any, nodes: Mapping[str, Any]) -> list[str]:
    """Nodes that this node gets a model, a stack, an array, or hooks from."""
    inputs = node.get("inputs") if isinstance(node, dict) else None
    if not isinstance(inputs, dict):
        return []
    return [
        str(value[0])
        for name, value in inputs.items()
        if isinstance(value, list)
        and len(value) == 2
        and str(value[0]) in nodes
        and ("model" in name.lower() or "lora" in name.lower() or "hooks" in name.lower() or name == "more")
    ]


def _ends(key: str, behind: Mapping[str, list[str]], loaders: Mapping[str, None]) -> bool:
    """Whether a node other than a loader uses the model from here, with no loader in between, or nothing uses it."""
    waiting, seen = [key], {key}
    while waiting:
        following = behind.get(waiting.pop(), [])
        if not following:
            return True
        for each in following:
            if each not in loaders and each not in seen:
                seen.add(each)
                waiting.append(each)
    return False


def _upstream(key: str, before: Mapping[str, list[str]], loaders: Mapping[str, None]) -> tuple[str, ...]:
    """This loader and the loaders before it, in order from the checkpoint."""
    found: list[str] = []
    seen = {key}
    waiting = [key]
    while waiting:
        each = waiting.pop()
        if each in loaders:
            found.append(each)
        for origin in reversed(before.get(each, [])):
            if origin not in seen:
                seen.add(origin)
                waiting.append(origin)
    return tuple(reversed(found))
