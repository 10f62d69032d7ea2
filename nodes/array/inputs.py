"""What the nodes that take a `lora` array have in common: its inputs, and what is said before they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ...lora_resolver import LoraResolverError
from .fingerprint import array_fingerprint
from .text import read_array

if TYPE_CHECKING:
    from collections.abc import Callable

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
