"""LoRA Array: a `lora` array as a value for other nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ...lora_resolver import format_lora_array
from ..server.failures import tells_programs
from ..server.picture_records import handed_on, record_run
from ..server.progress import NodeProgress
from ..server.running import wired_outputs
from ..server.settings import resolver_config
from .inputs import array_fingerprint, lora_input, refusal
from .joining import joined_entries
from .lora_stack import LoraStack, stack_rows
from .trigger_words import words_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...lora_resolver import LoraEntry, ResolvedLora
    from .lora_stack import Row

STACK, WORDS = 1, 2
"""Numbers of the outputs that need a lookup or a download."""


class AirLoraArray(io.ComfyNode):
    """Joins arrays, and outputs them as JSON, as LORA_STACK, and as trigger words."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Saved workflows contain these IDs, so they never change."""
        return io.Schema(
            node_id="AirLoraArray",
            display_name="LoRA Array",
            category="loaders/AIR LoRA",
            description=(
                "Holds a lora array. You can combine several arrays, connect one array to several nodes, or "
                "connect it to other packs' nodes as a LORA_STACK."
            ),
            inputs=[
                lora_input(
                    "The `lora` array of a Runware API request, or the whole request. "
                    "Comments and trailing commas are allowed."
                ),
                io.String.Input(
                    "more",
                    optional=True,
                    force_input=True,
                    tooltip="An array from another node. Its entries come first. The order doesn't affect the image.",
                ),
                LoraStack.Input(
                    "lora_stack",
                    optional=True,
                    tooltip="A stack from another node. It comes first in the LORA_STACK output. The JSON "
                    "output doesn't include it.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="lora", tooltip="All entries, as JSON."),
                LoraStack.Output(
                    display_name="LORA_STACK",
                    tooltip="For other packs' nodes: (name, model weight, CLIP weight) for each enabled entry. "
                    "Connecting this output downloads missing files.",
                ),
                io.String.Output(
                    display_name="trigger_words",
                    tooltip="The trigger words of all enabled entries, comma-separated.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def validate_inputs(cls, lora: str | None, more: str | None = None) -> bool | str:
        """Rejects an invalid array when the prompt is queued. A connected text is still None then."""
        return refusal(lambda: joined_entries(more=more, lora=lora))

    @classmethod
    def fingerprint_inputs(cls, lora: str | None = None, **_others: Any) -> str:
        """Changes when a file is replaced, or when an output is connected that wasn't computed before."""
        wired = wired_outputs()
        return f"{array_fingerprint(lora)}\n{'all' if wired is None else sorted(wired & {STACK, WORDS})}"

    @classmethod
    @tells_programs
    def execute(
        cls, lora: str, more: str | None = None, lora_stack: list[Row] | None = None
    ) -> io.NodeOutput:
        """Returns the array, the stack, and the trigger words."""
        from ...lora_resolver import (
            Resolver,
        )  # late, so that ComfyUI starts without loading an HTTP client

        entries = joined_entries(more=more, lora=lora)
        text = format_lora_array(entries)
        wired = wired_outputs()
        active = [entry for entry in entries if entry.active]
        identifiers = [entry.identifier for entry in active]
        places = [f"{entry.place}.model" for entry in active]
        progress = NodeProgress(cls.hidden.unique_id)
        stack: list[Row] = []
        words: tuple[str, ...] = ()
        if wired is None or STACK in wired:
            files = Resolver(resolver_config()).resolve_all(identifiers, places=places, on_progress=progress)
            stack = [*(lora_stack or []), *stack_rows(active, files)]
            words = words_of(files, places, active)
            record_run(cls.hidden, _told(entries, dict(zip((each.place for each in active), files))))
        elif WORDS in wired:
            words = words_of(
                Resolver(resolver_config()).peek_all(identifiers, on_progress=progress), places, active
            )
        return io.NodeOutput(text, stack, ", ".join(words), ui={"air_lora": [{"lora": text, "report": None}]})


def _told(entries: Sequence[LoraEntry], files: Mapping[str, ResolvedLora]) -> list[dict[str, Any]]:
    """The entries for a picture's record. `files` are the files of the returned entries, by place."""
    return [
        {
            **entry.facts(),
            **(
                handed_on(entry.identifier, files[entry.place]) if entry.place in files else {"status": "off"}
            ),
        }
        for entry in entries
    ]
