"""Analyze LoRA Array: how strong each LoRA is on this checkpoint, and how much each pair competes."""

from __future__ import annotations

import json
import time
from typing import Any

from comfy_api.latest import io

from ..lora_resolver import format_lora_array
from .array.inputs import TakesArray, expert_input, lora_input, read_array
from .server.failures import tells_programs


class AirLoraAnalyze(TakesArray):
    """Measures the deltas of an array without making them."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Ids are part of every saved workflow: they stay."""
        return io.Schema(
            node_id="AirLoraAnalyze",
            display_name="Analyze LoRA Array",
            category="loaders/AIR LoRA",
            description=(
                "Shows how strong each LoRA of an array is on this checkpoint, in which blocks, how much each pair "
                "competes, and at which weights all would be equally strong."
            ),
            inputs=[
                io.Model.Input("model", tooltip="The checkpoint's diffusion model, before any LoRA."),
                lora_input(),
                io.Clip.Input(
                    "clip", optional=True, tooltip="The text encoder, to measure what the LoRAs change there."
                ),
                expert_input(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="picture",
                    tooltip="Bars of strength, in total and by block, and a map of how much each pair competes.",
                ),
                io.String.Output(display_name="summary", tooltip="The findings in sentences."),
                io.String.Output(display_name="report", tooltip="All figures, as JSON."),
                io.String.Output(
                    display_name="even_lora",
                    tooltip="The array at weights that make every LoRA as strong as the others.",
                ),
                io.String.Output(
                    display_name="apart_lora",
                    tooltip="The array in which LoRAs that compete leave each other the blocks that each needs most.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @tells_programs
    def execute(cls, model: Any, lora: str, clip: Any = None, expert: str = "both") -> io.NodeOutput:
        """Picture, summary, report, the evened-out array."""
        # Late: no start of ComfyUI waits for the patching and the drawing.
        from .array.analysis_report import analysis_report
        from .array.apply import apply_array
        from .pictures.drawing import to_tensor

        started = time.perf_counter()
        entries = read_array(lora)
        outcome = apply_array(
            model,
            clip,
            entries,
            skip_mismatches=False,
            expert=expert,
            node_id=cls.hidden.unique_id,
            only_entries=True,
        )
        found = analysis_report(model, clip, entries, outcome)
        facts = {**found.facts, "seconds": round(time.perf_counter() - started, 3)}
        return io.NodeOutput(
            to_tensor(found.picture),
            found.summary,
            json.dumps(facts, ensure_ascii=False, indent=2),
            format_lora_array(found.suggestion),
            format_lora_array(found.apart),
            # The page shows them behind the bars of a row's blocks.
            ui={"air_lora": [{"lora": lora, "report": None, "strengths": found.by_block}]},
        )
