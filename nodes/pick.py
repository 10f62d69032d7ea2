"""Pick from LoRA Array: picks some of an array's LoRAs, by a seed or in turn."""

from __future__ import annotations

from comfy_api.latest import io

from ..lora_resolver import format_lora_array
from .array.inputs import TakesArray, lora_input, read_array
from .array.picking import HOW, pick
from .server.failures import tells_programs


class AirLoraPick(TakesArray):
    """Turns an array into a smaller one, for Apply LoRA Array.

    The report of Apply LoRA Array and the picture's record then show what was picked.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Saved workflows contain these IDs, so they never change."""
        return io.Schema(
            node_id="AirLoraPick",
            display_name="Pick from LoRA Array",
            category="loaders/AIR LoRA",
            description=(
                "Picks some LoRAs of an array for each image, at random by a seed or in turn. Can also draw "
                "the weights from a range."
            ),
            inputs=[
                lora_input(),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**53 - 1,
                    control_after_generate=True,
                    tooltip="The same seed picks the same LoRAs. For in turn, the seed counts the images: set "
                    "it to increment.",
                ),
                io.Int.Input(
                    "count",
                    default=1,
                    min=1,
                    max=1000,
                    tooltip="How many of the enabled LoRAs each image gets.",
                ),
                io.Combo.Input(
                    "how",
                    options=list(HOW),
                    default=HOW[0],
                    tooltip="random draws LoRAs at random. in turn takes one after the other and starts over "
                    "at the end.",
                ),
                io.String.Input(
                    "weights",
                    default="",
                    optional=True,
                    tooltip="The range to draw weights from, such as 0.4 to 0.9. If empty, the array's weights "
                    "are used.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="lora", tooltip="The picked LoRAs, for Apply LoRA Array."),
                io.String.Output(
                    display_name="picked", tooltip="The picked LoRAs, one identifier and weight per line."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @tells_programs
    def execute(cls, lora: str, seed: int, count: int, how: str, weights: str = "") -> io.NodeOutput:
        """Returns the array of the picked entries, and the same entries as text."""
        picked = pick(read_array(lora), how, seed, count, weights)
        lines = "\n".join(f"{entry.identifier}  {entry.weight:g}" for entry in picked)
        text = format_lora_array(picked)
        return io.NodeOutput(text, lines, ui={"air_lora": [{"lora": lora, "report": None}], "text": [lines]})
