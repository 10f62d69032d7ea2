"""Pick from LoRA Array: some of an array's LoRAs by a seed, or one after the other."""

from __future__ import annotations

from comfy_api.latest import io

from ..lora_resolver import format_lora_array
from .array.inputs import TakesArray, lora_input, read_array, refusal
from .array.picking import HOW, pick
from .server.failures import tells_programs


class AirLoraPick(TakesArray):
    """An array → a smaller one, for Apply LoRA Array; its report and the picture's record then say what was picked."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Ids are part of every saved workflow: they stay."""
        return io.Schema(
            node_id="AirLoraPick",
            display_name="Pick from LoRA Array",
            category="loaders/AIR LoRA",
            description=(
                "Picks some LoRAs of an array for each picture: at random by a seed, or one after the other, with "
                "weights from a range if you like."
            ),
            inputs=[
                lora_input(),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=2**53 - 1,
                    control_after_generate=True,
                    tooltip="The same seed picks the same. In turn, it counts the pictures: let it increment.",
                ),
                io.Int.Input(
                    "count",
                    default=1,
                    min=1,
                    max=1000,
                    tooltip="How many LoRAs each picture gets, of those on.",
                ),
                io.Combo.Input(
                    "how",
                    options=list(HOW),
                    default=HOW[0],
                    tooltip="random draws them. in turn takes one after the other, and begins again at the end.",
                ),
                io.String.Input(
                    "weights",
                    default="",
                    optional=True,
                    tooltip="A range to draw the weights from, as 0.4 to 0.9. Empty: the weights of the array.",
                ),
            ],
            outputs=[
                io.String.Output(display_name="lora", tooltip="The picked LoRAs, for Apply LoRA Array."),
                io.String.Output(
                    display_name="picked", tooltip="What was picked, one name and weight a line."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(
        cls,
        lora: str | None,
        seed: int | None = None,
        count: int | None = None,
        how: str | None = None,
        weights: str | None = "",
    ) -> bool | str:
        """Refuses what cannot be picked when the prompt is queued. What is wired in is not known yet: None."""

        def check() -> None:
            entries = read_array(lora) if lora is not None else None
            if entries is not None and None not in (seed, count, how, weights):
                pick(entries, str(how), int(seed or 0), int(count or 0), str(weights))

        return refusal(check)

    @classmethod
    @tells_programs
    def execute(cls, lora: str, seed: int, count: int, how: str, weights: str = "") -> io.NodeOutput:
        """An array, and what is in it as text."""
        picked = pick(read_array(lora), how, seed, count, weights)
        lines = "\n".join(f"{entry.identifier}  {entry.weight:g}" for entry in picked)
        text = format_lora_array(picked)
        return io.NodeOutput(text, lines, ui={"air_lora": [{"lora": lora, "report": None}], "text": [lines]})
