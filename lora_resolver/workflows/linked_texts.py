"""Texts that come through a link from a node that contains them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["comes_from_us", "held_value", "is_link", "is_ours", "linked_array", "single_text"]

_MAX_HOPS = 50  # nodes that a text may pass through


def is_link(value: object) -> bool:
    """Whether a value is a link: [id of a node, number of its output]."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], (str, int))
        and isinstance(value[1], int)
    )


def is_ours(node: object) -> bool:
    """Whether a node belongs to this pack."""
    return isinstance(node, dict) and str(node.get("class_type")).startswith("AirLora")


def comes_from_us(value: object, nodes: Mapping[str, Any]) -> bool:
    """Whether a value comes through a link from a node of this pack. The LoRAs are then read from that node."""
    return isinstance(value, list) and is_link(value) and is_ours(nodes.get(str(value[0])))


def linked_array(link: list[Any], nodes: Mapping[str, Any]) -> str | None:
    """The array that comes through a link from a node that contains it as text; None if it is computed in the run."""
    for _ in range(_MAX_HOPS):
        texts, links = _held(link, nodes)
        # The node may also have other texts: a separator, a mode.
        arrays = [text for text in texts if text.lstrip()[:1] in ("[", "{", "/")]
        if len(arrays) == 1 and not links:
            return arrays[0]
        if texts and not links and not any(text.strip() for text in texts):
            return ""
        if texts or len(links) != 1:
            return None
        link = links[0]
    return None


def single_text(link: Any, nodes: Mapping[str, Any]) -> str | None:
    """The text that comes through a link from a node with only one text; None if it is computed in the run."""
    for _ in range(_MAX_HOPS):
        texts, links = _held(link, nodes)
        if len(texts) == 1 and not links:
            return texts[0] if _holds(nodes[str(link[0])]) else None
        if texts or len(links) != 1:
            return None
        link = links[0]
    return None


def held_value(link: Any, nodes: Mapping[str, Any]) -> Any:
    """The text, number, or switch that comes through a link from a node that contains it; the link itself if it is
    computed in the run."""
    if not is_link(link):
        return link
    text = single_text(link, nodes)
    if text is not None:
        return text
    node = nodes.get(str(link[0]))
    inputs = node.get("inputs") if isinstance(node, dict) else None
    held = [each for each in inputs.values() if each is not None] if isinstance(inputs, dict) else []
    return held[0] if len(held) == 1 and isinstance(held[0], (bool, int, float)) and _holds(node) else link


# Nodes that only contain a value have one of these words in their names. Others compute a new value from it.
_HOLDER = re.compile(
    r"primitive|string|text|prompt|constant|value|float|\bint\b|integer|number|bool|multiline|literal|names?\b|names\Z"
    r"|note\b|input\b",
    re.IGNORECASE,
)
_MAKER = re.compile(
    r"random|load|file|generat|llm|ollama|gpt|chat|api\b|wildcard|translat|encode|caption|style|replace|split|join|concat"
    r"|switch|math|regex|format|process|choice|pick|select|convert",
    re.IGNORECASE,
)


def _holds(node: Any) -> bool:
    kind = str(node.get("class_type"))
    return bool(_HOLDER.search(kind)) and not _MAKER.search(kind)


def _held(link: list[Any], nodes: Mapping[str, Any]) -> tuple[list[str], list[list[Any]]]:
    node = nodes.get(str(link[0]))
    inputs = node.get("inputs") if isinstance(node, dict) else None
    values = inputs.values() if isinstance(inputs, dict) else ()
    return [value for value in values if isinstance(value, str)], [
        value for value in values if is_link(value)
    ]
