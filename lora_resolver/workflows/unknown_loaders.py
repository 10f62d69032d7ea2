"""Detects nodes that look like LoRA loaders but aren't supported, so that no LoRA is left out silently.

A node looks like a loader if one of its values looks like a LoRA: an AIR of type lora; a model file in an input whose
name contains lora, in a node with LoRA in its name, or from a `loras` folder; `<lora:…>` in the text of such a node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..text import quoted
from .linked_texts import is_link
from .loader_table import NO_LOADERS
from .other_loaders import is_known
from .prompt_tags import prompt_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

__all__ = ["known_names", "signs_of_loras"]

_FILE = re.compile(r"[^\n\r<>|\"*?]{1,300}\.(?:safetensors|sft|ckpt|pt|pth|bin|gguf)", re.IGNORECASE)
_ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")
_AIR = re.compile(r"urn:air:[\w.-]{1,40}:(?:lora|lycoris|dora|locon):\S{1,300}", re.IGNORECASE)
_LORA = re.compile(r"lora|lycoris|locon", re.IGNORECASE)
# These nodes create files instead of loading them, or have LoRA in their name but contain something else.
_MAKERS = re.compile(
    r"save|train|extract|merge|resize|convert|download|metadata|info\b|caption", re.IGNORECASE
)
_AIR_INSIDE = re.compile(
    r"urn:air:[\w.-]{1,40}:(?:lora|lycoris|dora|locon):[^\s\"'\\,\]}]{1,300}", re.IGNORECASE
)
_FILE_INSIDE = re.compile(r"[\"']([^\"'\n]{1,200}\.(?:safetensors|sft))[\"']", re.IGNORECASE)
_LORA_NAME = re.compile(r"loras?(?:_?name)?(?:_?[0-9]{1,2})?", re.IGNORECASE)
_LINKED_NAME = re.compile(r"lora\w*(?:name|file|path)", re.IGNORECASE)
_NOTHING = frozenset({"", "none", "[none]", "null", "undefined"})
_LONGEST_NAME = 300
_LORA_INPUT = re.compile(
    r"(?:\A|[\W_])loras?(?:\Z|[\W_0-9])|loras?_?(?:name|model|path|file|list|stack)", re.IGNORECASE
)
# Nodes and inputs for other models: a checkpoint may have the same name as a LoRA.
_OTHER_KIND = re.compile(
    r"ckpt|checkpoint|unet|vae|clip|control_?net|diffusion|style_?model|upscale|gligen|encoder|hypernet|embed|model"
    r"|patch|adapter|\bdit\b|supir|latent|sam\b|yolo|detect|face|motion",
    re.IGNORECASE,
)
# These nodes only contain or show a text.
_HOLDS = re.compile(
    r"primitive|string|text|preview|show|note|get_?node|set_?node|display|label|literal", re.IGNORECASE
)
_MOST_NAMES = 5
_MAX_DEPTH = 6
_MAX_VALUES = 2000
_LONGEST_TEXT = 20_000


def signs_of_loras(kind: str, node: Mapping[str, Any], is_listed: Callable[[str], bool]) -> str:
    """What looks like a LoRA in a node of an unsupported class, as a clause; empty if nothing does.

    `node` has the form of `canvas`. `is_listed` returns whether a file is in a `loras` folder.
    """
    about = _about(kind, str(node.get("pack", "")))
    if about is None:
        return ""
    of_pack, holds_others = about
    inside = next((each for each in node.get("members", ()) if is_known(each) and each not in NO_LOADERS), "")
    found = dict.fromkeys(
        entry["name"]
        for entry in node.get("models") or ()
        if str(entry.get("directory", "")).startswith("loras") and isinstance(entry.get("name"), str)
    )
    for name, value in _texts(node["inputs"]):
        if len(found) >= _MOST_NAMES:
            break
        # The page may save values without their input names.
        is_other = holds_others or (not name.startswith("widget ") and bool(_OTHER_KIND.search(name)))
        found |= dict.fromkeys(_named_in(name, value, of_pack, is_other, bool(inside), is_listed))
    if found:
        return f"it names {', '.join(quoted(name, 100)[1:-1] for name in found)}"
    if of_pack and any(
        _LINKED_NAME.search(name) and is_link(value) for name, value in node["inputs"].items()
    ):
        return "its file comes from another node"
    return f"it contains a {inside}" if inside else ""


def _named_in(
    name: str, value: str, of_pack: bool, is_other: bool, is_group: bool, is_listed: Callable[[str], bool]
) -> Iterator[str]:
    """The LoRAs in one text of a node. `of_pack`: the node has LoRA in its name; `is_other`: the input is for other
    models; `is_group`: the node contains a loader."""
    text = value.strip()
    if text.lower().endswith(_ENDINGS) or text[:8].lower() == "urn:air:":
        for_loras = is_group or bool(_LORA_INPUT.search(name)) or (of_pack and not is_other)
        if _AIR.fullmatch(text) or (
            _FILE.fullmatch(text) and (for_loras or (not is_other and is_listed(text)))
        ):
            yield text
    elif len(text) > _LONGEST_TEXT:
        return
    elif text[:1] in ("[", "{"):
        yield from (match[0] for match in _AIR_INSIDE.finditer(text))
        if of_pack or _LORA_INPUT.search(name):
            yield from (match[1] for match in _FILE_INSIDE.finditer(text))
    elif of_pack and "<" in text:
        yield from (tag.name for tag in prompt_tags(text))
    elif (
        of_pack and _LORA_NAME.fullmatch(name) and text.lower() not in _NOTHING and len(text) < _LONGEST_NAME
    ):
        yield text


@lru_cache(1000)
def _about(kind: str, packs: str) -> tuple[bool, bool] | None:
    """(whether it belongs to a LoRA pack, whether it is for other things); None for a class that isn't checked."""
    if is_known(kind) or _MAKERS.search(kind):
        return None
    of_pack = bool(_LORA.search(kind) or _LORA.search(packs))
    return of_pack, not of_pack and bool(_OTHER_KIND.search(kind) or _HOLDS.search(kind))


def _texts(inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(the input, the text) for every text in the values, including those inside lists and objects."""
    waiting: list[tuple[str, Any, int]] = []
    for name, value in inputs.items():
        if isinstance(value, str):
            yield str(name), value
        elif isinstance(value, (dict, list)) and not is_link(value):
            waiting.append((str(name), value, 0))
    for _ in range(_MAX_VALUES):
        if not waiting:
            return
        name, value, depth = waiting.pop()
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, Mapping) and depth < _MAX_DEPTH:
            waiting += [
                (name if _LORA_INPUT.search(name) else str(key), each, depth + 1)
                for key, each in reversed(list(value.items()))
            ]
        elif isinstance(value, list) and depth < _MAX_DEPTH:
            waiting += [(name, each, depth + 1) for each in reversed(value)]


def known_names(local_names: Collection[str]) -> Callable[[str], bool]:
    """A function that checks whether a text is one of these files, with either kind of slash."""
    names = {each.lower() for each in local_names}
    return lambda text: text.replace("\\", "/").lower() in names
