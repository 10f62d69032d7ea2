"""Shared code of the nodes that take a `lora` array: their inputs, and their checks before they run."""

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
        """Rejects an invalid array when the prompt is queued. A connected text is still None then.

        ComfyUI repeats the message for every input that this takes, so other inputs are checked when the node runs.
        """
        return refusal(lambda: lora is None or read_array(lora))

    @classmethod
    def fingerprint_inputs(cls, lora: str | None = None, **_others: Any) -> str:
        """Changes when a file with a local name is replaced, so that the node runs again.

        Reads no file contents, and doesn't use the network.
        """
        return array_fingerprint(lora)


def refusal(check: Callable[[], object]) -> bool | str:
    """The result for `validate_inputs`: True, or the message of the LoraResolverError that `check` raised."""
    try:
        check()
    except LoraResolverError as error:
        return str(error.counted())
    return True


def lora_input(
    tooltip: str = "The lora array, in the same format as for Apply LoRA Array.",
) -> io.String.Input:
    """The text input. The page shows its array as rows."""
    return io.String.Input("lora", multiline=True, default="[]", placeholder=EXAMPLE, tooltip=tooltip)


def expert_input(
    tooltip: str = 'Which expert of a dual-expert video model this model is. Choose "both" for all other models.',
) -> io.Combo.Input:
    """The input for which expert of a dual-expert video model MODEL is."""
    return io.Combo.Input(
        "expert", options=["both", "high", "low"], default="both", optional=True, tooltip=tooltip
    )


def read_array(text: object) -> tuple[LoraEntry, ...]:
    """The entries of an array, or of the `<lora:name:0.7>` tags of a text that isn't one. Raises InvalidLoraArray."""
    tagged = tags_as_array(text, lora_names) if isinstance(text, str) else None
    return parse_lora_array(text if tagged is None else tagged)


def array_fingerprint(text: str | None) -> str:
    """The canonical array, and for each local name, the file's size and modification time.

    A version at CivitAI never changes, so its file isn't checked. If the text can't be parsed, the text itself is the
    fingerprint, and the run reports the error.
    """
    from ...lora_resolver import (
        Resolver,  # late, so that ComfyUI starts without loading an HTTP client
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
"""The type of a file name for other loaders. In ComfyUI, the type of a combo input is its list of options. An output
can't declare that type, so only "anything" matches it."""


FROM_REQUEST = "from the request"
"""An option in a list of files: uses the file that the request names."""
