"""What the nodes that take a `lora` array have in common: its inputs, and what is said before they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ...lora_resolver import LoraResolverError, format_lora_array, parse_lora_array, tags_as_array
from ..server.settings import lora_names, resolver_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...lora_resolver import LoraEntry

EXAMPLE = '[\n  { "model": "civitai:120096@135931", "weight": 0.75 }\n]'


class TakesArray(io.ComfyNode):
    """A node whose text input `lora` is a `lora` array."""

    @classmethod
    def validate_inputs(cls, lora: str | None) -> bool | str:
        """Refuses a malformed array when the prompt is queued. A wired-in text is not known yet: None."""
        return refusal(lambda: lora is None or read_array(lora))

    @classmethod
    def fingerprint_inputs(cls, lora: str | None = None, **_others: Any) -> str:
        """Runs again when a file with a local name was replaced; reads no file and no network."""
        return array_fingerprint(lora)


def refusal(check: Callable[[], object]) -> bool | str:
    """What `validate_inputs` answers: True, or the sentence of the LoraResolverError that `check` raised."""
    try:
        check()
    except LoraResolverError as error:
        return str(error.counted())
    return True


def lora_input(tooltip: str = "The lora array, as for Apply LoRA Array.") -> io.String.Input:
    """The text that the rows of the page are a view of."""
    return io.String.Input("lora", multiline=True, default="[]", placeholder=EXAMPLE, tooltip=tooltip)


def expert_input(
    tooltip: str = 'Which expert of a dual-expert video model this model is. "both" for every other model.',
) -> io.Combo.Input:
    """The half of a dual-expert video model that MODEL is."""
    return io.Combo.Input(
        "expert", options=["both", "high", "low"], default="both", optional=True, tooltip=tooltip
    )


def read_array(text: object) -> tuple[LoraEntry, ...]:
    """The entries of an array, or of the `<lora:name:0.7>` tags of a text that is none. Raises InvalidLoraArray."""
    tagged = tags_as_array(text, lora_names) if isinstance(text, str) else None
    return parse_lora_array(text if tagged is None else tagged)


def array_fingerprint(text: str | None) -> str:
    """The canonical array, and for local names the file's size and time of change.

    A version at CivitAI never changes, so its file is not looked at. A text that cannot be parsed is its own
    fingerprint: the run itself will say what is wrong with it.
    """
    from ...lora_resolver import (
        Resolver,  # late: it needs an HTTP client, which no start of ComfyUI waits for
    )

    if text is None:
        return ""
    try:
        entries = read_array(text)
        local = [entry.identifier for entry in entries if entry.active and entry.identifier.source == "local"]
        resolver = Resolver(resolver_config()) if local else None
        marks = []
        for identifier in local:
            path = resolver.find_local(identifier) if resolver else None
            state = path.stat() if path is not None else None
            marks.append(
                f"{identifier} {state.st_size} {state.st_mtime_ns}" if state else f"{identifier} missing"
            )
        return "\n".join([format_lora_array(entries), *sorted(marks)])
    except LoraResolverError:
        return text


LoaderName = io.AnyType
"""To ComfyUI, the type of a list is the list itself, which no output can name; only "anything" fits it."""


FROM_REQUEST = "from the request"
"""In a list of files: the one that the request names."""
