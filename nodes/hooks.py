"""LoRA Array as Hooks: an array for one region of the picture, or for one of several conditionings."""

from __future__ import annotations

import json
from typing import Any

from comfy_api.latest import io

from .array.inputs import TakesArray, expert_input, lora_input, read_array
from .server.failures import tells_programs


class AirLoraHooks(TakesArray):
    """Turns a `lora` array into HOOKS, after checking it against the checkpoint that will use them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Saved workflows contain these IDs, so they never change."""
        return io.Schema(
            node_id="AirLoraHooks",
            display_name="LoRA Array as Hooks",
            category="loaders/AIR LoRA",
            description=(
                "Applies the LoRAs of an array to part of the image: connect the hooks to Cond Set Props or Cond "
                "Pair Set Props with a mask. Finds, downloads, and checks each LoRA, as Apply LoRA Array does."
            ),
            inputs=[
                io.Model.Input(
                    "model", tooltip="The model that samples with these hooks. This node doesn't change it."
                ),
                lora_input(),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The model's text encoder, for Set CLIP Hooks. Without it, text-encoder keys are "
                    "skipped.",
                ),
                io.Combo.Input(
                    "on_mismatch",
                    options=["error", "skip"],
                    default="error",
                    optional=True,
                    tooltip="What to do if a LoRA doesn't match the checkpoint: stop with an error, or skip it.",
                ),
                expert_input(),
            ],
            outputs=[
                io.Hooks.Output(display_name="HOOKS", tooltip="All LoRAs of the array as one hook."),
                io.String.Output(
                    display_name="trigger_words",
                    tooltip="The trigger words of all applied entries, comma-separated.",
                ),
                io.String.Output(display_name="report", tooltip="What the hooks contain, as JSON."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    @tells_programs
    def execute(
        cls, model: Any, lora: str, clip: Any = None, on_mismatch: str = "error", expert: str = "both"
    ) -> io.NodeOutput:
        """Returns HOOKS, trigger words, and the report."""
        # Imported late, so that ComfyUI starts without loading the patching code.
        from .array.apply import apply_array
        from .patching.application import patches_of
        from .patching.schedules import hooks_for_conditionings
        from .server.picture_records import record_run

        entries = read_array(lora)
        outcome = apply_array(
            model,
            clip,
            entries,
            skip_mismatches=on_mismatch == "skip",
            expert=expert,
            node_id=cls.hidden.unique_id,
            only_entries=True,
        )
        sides = ([patches_of(each, text_encoder=side) for each in outcome.entries] for side in (False, True))
        hooks = hooks_for_conditionings(*sides)
        report = {key: value for key, value in outcome.report.items() if not key.startswith("apply_as")}
        record_run(
            cls.hidden,
            [{**row, "enabled": entry.enabled} for entry, row in zip(entries, report["entries"])],
        )
        return io.NodeOutput(
            hooks,
            ", ".join(outcome.trigger_words),
            json.dumps(report, ensure_ascii=False, indent=2),
            ui={"air_lora": [{"lora": lora, "report": report}]},
        )
