"""LoRA Weight Sweep: one array, several weights, a list of arrays that ComfyUI runs through one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io

from .array.inputs import lora_input, read_array, refusal
from .array.sweep_axes import AXES, sweep_over
from .array.weight_sweep import read_values
from .server.failures import tells_programs
from .server.settings import resolver_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..lora_resolver import LoraEntry


class AirLoraSweep(io.ComfyNode):
    """Gives lists: every node behind it runs once for each value."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Ids are part of every saved workflow: they stay."""
        return io.Schema(
            node_id="AirLoraSweep",
            display_name="LoRA Weight Sweep",
            category="loaders/AIR LoRA",
            description=(
                "Tries several weights of one LoRA, or of all: everything behind this node runs once for each value, "
                "and LoRA Picture Grid puts the pictures on one sheet."
            ),
            inputs=[
                lora_input(),
                io.Int.Input(
                    "entry",
                    default=1,
                    min=0,
                    max=1000,
                    tooltip="Which entry of the array gets the values: 1 is the first, 0 is all that are on.",
                ),
                io.String.Input(
                    "values",
                    default="0.4, 0.55, 0.7, 0.85, 1",
                    tooltip="The weights to try: numbers, or a range as 0.2:1:0.2 (from, to, step). "
                    "For the other axes: early; middle; late, or 0-0.5, 0.5-1, or none, 1, 2, all.",
                ),
                io.Combo.Input(
                    "axis",
                    options=list(AXES),
                    default=AXES[0],
                    optional=True,
                    tooltip="What changes from picture to picture: the weight, the blocks on which the entry counts, "
                    "the steps in which it counts, or which entries are on.",
                ),
            ],
            outputs=[
                io.String.Output(
                    display_name="lora",
                    is_output_list=True,
                    tooltip="One array for each value, for Apply LoRA Array.",
                ),
                io.String.Output(
                    display_name="labels",
                    is_output_list=True,
                    tooltip="For LoRA Picture Grid: entry and weight.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(
        cls,
        lora: str | None,
        values: str | None = None,
        entry: int | None = None,
        axis: str | None = "weight",
    ) -> bool | str:
        """Refuses what cannot be swept when the prompt is queued. What is wired in is not known yet: None."""

        def check() -> None:
            entries = read_array(lora) if lora is not None else None
            if axis == "weight" and values is not None:
                read_values(values)
            if entries is not None and None not in (entry, values, axis):
                sweep_over(str(axis), entries, int(entry or 0), str(values))

        return refusal(check)

    @classmethod
    @tells_programs
    def execute(cls, lora: str, entry: int, values: str, axis: str = "weight") -> io.NodeOutput:
        """Arrays and labels, as lists of one length."""
        entries = read_array(lora)
        swept = sweep_over(axis, entries, entry, values, _name_of(entries, entry))
        return io.NodeOutput([each.lora for each in swept], [each.label for each in swept])


def _name_of(entries: Sequence[LoraEntry], entry: int) -> str:
    """What the source calls the entry, where its file is on this disk already; else nothing. No network is asked."""
    from ..lora_resolver import Resolver  # late: it needs an HTTP client, which no start of ComfyUI waits for

    if not 0 < entry <= len(entries):
        return ""
    (file,) = Resolver(resolver_config()).local_files([entries[entry - 1].identifier])
    return file.record.name if file is not None and file.record is not None else ""
