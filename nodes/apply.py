"""Apply LoRA Array: the pack's main node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from .array.inputs import TakesArray, expert_input, lora_input, read_array
from .array.lora_stack import LoraStack, stack_entries
from .server.failures import tells_programs
from .server.picture_records import record_run

if TYPE_CHECKING:
    from .array.apply import AnyEntry
    from .array.lora_stack import Row


class AirLoraApply(TakesArray):
    """A `lora` array onto a MODEL and, where there is one, a CLIP."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Ids are part of every saved workflow: they stay."""
        return io.Schema(
            node_id="AirLoraApply",
            display_name="Apply LoRA Array",
            category="loaders/AIR LoRA",
            description=(
                "Finds or downloads each LoRA of the array, proves that it fits the checkpoint, and adds the weighted "
                "deltas. The order of the entries does not matter."
            ),
            inputs=[
                io.Model.Input("model", tooltip="The checkpoint's diffusion model."),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The checkpoint's text encoder. Without it, text-encoder keys are left out and counted.",
                ),
                lora_input(
                    "The `lora` array of the Runware API, or a whole request that has one. "
                    "Comments and trailing commas are fine."
                ),
                io.Combo.Input(
                    "on_mismatch",
                    options=["error", "skip"],
                    default="error",
                    optional=True,
                    tooltip="What to do with a LoRA that does not fit the checkpoint: stop, or leave it out.",
                ),
                expert_input(
                    "Which expert of a dual-expert video model (Wan 2.2) this model is: entries whose "
                    '"transformer" is the other one are left out. "both" for every other model.'
                ),
                LoraStack.Input(
                    "lora_stack",
                    optional=True,
                    tooltip="LoRAs from a stack node of another pack. They join the array: a file in both counts "
                    "with the sum of its weights.",
                ),
                io.Combo.Input(
                    "apply_as",
                    options=["patch", "bypass", "auto"],
                    default="patch",
                    optional=True,
                    tooltip="patch changes the weights. bypass computes the LoRAs beside them: right for quantized "
                    "models, and a changed weight costs nothing. auto takes bypass where it is better.",
                ),
                io.Model.Input(
                    "model_low",
                    optional=True,
                    tooltip="The other model of a pair, as of Wan 2.2: model is then the high-noise one, and each "
                    "gets its own entries.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL"),
                io.Clip.Output(display_name="CLIP"),
                io.String.Output(
                    display_name="trigger_words", tooltip="Of all applied entries, comma-separated."
                ),
                io.String.Output(display_name="report", tooltip="What was applied, as JSON."),
                io.Model.Output(
                    display_name="MODEL_LOW",
                    tooltip="The second model with its LoRAs; nothing where none is connected.",
                ),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    @tells_programs
    def execute(
        cls,
        model: Any,
        lora: str,
        clip: Any = None,
        on_mismatch: str = "error",
        expert: str = "both",
        lora_stack: list[Row] | None = None,
        apply_as: str = "patch",
        model_low: Any = None,
    ) -> io.NodeOutput:
        """MODEL, CLIP, trigger words, report, MODEL; the rows show what ran, whatever wire it came over."""
        from .array.apply import (  # late: no start of ComfyUI waits for the patching
            apply_array,
            apply_to_pair,
        )

        entries: list[AnyEntry] = [*read_array(lora), *stack_entries(lora_stack)]
        options: dict[str, Any] = {
            "skip_mismatches": on_mismatch == "skip",
            "node_id": cls.hidden.unique_id,
            "apply_as": apply_as,
        }
        low = None
        if model_low is None:
            outcome = apply_array(model, clip, entries, expert=expert, **options)
        else:
            outcome, low = apply_to_pair(model, model_low, clip, entries, **options)
        record_run(
            cls.hidden,
            [{**row, "enabled": entry.enabled} for entry, row in zip(entries, outcome.report["entries"])],
        )
        report = json.dumps(outcome.report, ensure_ascii=False, indent=2)
        return io.NodeOutput(
            outcome.model,
            outcome.clip,
            ", ".join(outcome.trigger_words),
            report,
            low,
            ui={"air_lora": [{"lora": lora, "report": outcome.report}]},
        )
