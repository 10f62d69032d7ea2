"""Apply LoRA Array: the pack's main node."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from .array.inputs import TakesArray, expert_input, lora_input, read_array
from .array.lora_stack import LoraStack, stack_entries
from .server.failures import tells_programs
from .server.picture_records import record_run
from .server.sweep_progress import watched_by_sweep

if TYPE_CHECKING:
    from .array.apply import AnyEntry
    from .array.lora_stack import Row


class AirLoraApply(TakesArray):
    """Applies a `lora` array to a MODEL and, if one is connected, to a CLIP."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Saved workflows contain these IDs, so they never change."""
        return io.Schema(
            node_id="AirLoraApply",
            display_name="Apply LoRA Array",
            category="loaders/AIR LoRA",
            description=(
                "Finds or downloads each LoRA in the array, verifies that it matches the checkpoint, and "
                "applies it at its weight. The order of the entries doesn't matter."
            ),
            inputs=[
                io.Model.Input("model", tooltip="The checkpoint's diffusion model."),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The checkpoint's text encoder. Without it, text-encoder keys are skipped and "
                    "counted in the report.",
                ),
                lora_input(
                    "The `lora` array of a Runware API request, or the whole request. "
                    "Comments and trailing commas are allowed."
                ),
                io.Combo.Input(
                    "on_mismatch",
                    options=["error", "skip"],
                    default="error",
                    optional=True,
                    tooltip="What to do if a LoRA doesn't match the checkpoint: stop with an error, or skip it.",
                ),
                expert_input(
                    "Which expert of a dual-expert video model (Wan 2.2) this model is. Entries whose "
                    '"transformer" is the other expert are skipped. Choose "both" for all other models.'
                ),
                LoraStack.Input(
                    "lora_stack",
                    optional=True,
                    tooltip="LoRAs from another pack's stack node. They're added to the array. If a file is in both, "
                    "its weights are added up.",
                ),
                io.Combo.Input(
                    "apply_as",
                    options=["patch", "bypass", "auto"],
                    default="patch",
                    optional=True,
                    tooltip="patch changes the model's weights. bypass computes the LoRAs alongside the "
                    "layers: it's best for quantized models, and changing a weight costs nothing. auto uses "
                    "bypass where it's better.",
                ),
                io.Model.Input(
                    "model_low",
                    optional=True,
                    tooltip="The low-noise model of a pair, such as Wan 2.2. Connect the high-noise model to model. "
                    "Each model gets its own entries.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="MODEL"),
                io.Clip.Output(display_name="CLIP"),
                io.String.Output(
                    display_name="trigger_words",
                    tooltip="The trigger words of all applied entries, comma-separated.",
                ),
                io.String.Output(display_name="report", tooltip="What was applied, as JSON."),
                io.Model.Output(
                    display_name="MODEL_LOW",
                    tooltip="The low-noise model with its LoRAs. Empty if model_low isn't connected.",
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
        """Returns MODEL, CLIP, trigger words, report, and MODEL_LOW.

        The rows show the array that ran, even if it came from a connected input.
        """
        from .array.apply import (  # late, so that ComfyUI starts without loading the patching code
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
            watched_by_sweep(outcome.model, cls.hidden),
            outcome.clip,
            ", ".join(outcome.trigger_words),
            report,
            low if low is None else watched_by_sweep(low, cls.hidden),
            ui={"air_lora": [{"lora": lora, "report": outcome.report}]},
        )
