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
    """Measures the deltas of an array without computing them in full."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Saved workflows contain these IDs, so they never change."""
        return io.Schema(
            node_id="AirLoraAnalyze",
            display_name="Analyze LoRA Array",
            category="loaders/AIR LoRA",
            description=(
                "Shows how strongly each LoRA in an array changes this checkpoint and in which blocks, how much each "
                "pair competes, and which weights make all LoRAs equally strong."
            ),
            inputs=[
                io.Model.Input("model", tooltip="The checkpoint's diffusion model, without LoRAs."),
                lora_input(),
                io.Clip.Input(
                    "clip", optional=True, tooltip="The text encoder. Connect it to measure its changes, too."
                ),
                expert_input(),
            ],
            outputs=[
                io.Image.Output(
                    display_name="image",
                    tooltip="A chart of each LoRA's strength, in total and by block, and of how much each pair "
                    "competes.",
                ),
                io.String.Output(display_name="summary", tooltip="The results as text."),
                io.String.Output(display_name="report", tooltip="All measurements, as JSON."),
                io.String.Output(
                    display_name="even_lora",
                    tooltip="The array with weights that make all LoRAs equally strong.",
                ),
                io.String.Output(
                    display_name="apart_lora",
                    tooltip="The array with block weights that separate competing LoRAs: each keeps the blocks "
                    "it needs most.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @tells_programs
    def execute(cls, model: Any, lora: str, clip: Any = None, expert: str = "both") -> io.NodeOutput:
        """Returns the picture, the summary, the report, and the two suggested arrays."""
        # Imported late, so that ComfyUI starts without loading the patching and drawing code.
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
            # The page shows `strengths` behind the bars of a row's blocks.
            ui={"air_lora": [{"lora": lora, "report": None, "strengths": found.by_block}]},
        )
