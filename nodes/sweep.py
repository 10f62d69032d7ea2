"""LoRA Weight Sweep: turns one array and the values to try into a list of arrays. ComfyUI runs them one by one."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from comfy_api.latest import io

from .array.inputs import TakesArray, lora_input, read_array
from .array.sweep_axes import AXES
from .array.sweep_grid import Axis, sweep_both
from .server.failures import tells_programs
from .server.settings import resolver_config
from .server.sweep_progress import sweeps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..lora_resolver import Identifier, LoraEntry

NO_AXIS = "none"


class AirLoraSweep(TakesArray):
    """Returns lists: every node after this one runs once for each value."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Saved workflows contain these IDs, so they never change."""
        return io.Schema(
            node_id="AirLoraSweep",
            display_name="LoRA Weight Sweep",
            category="loaders/AIR LoRA",
            description=(
                "Tries several weights of one LoRA, or of all LoRAs. Every node after this one runs once for "
                "each value, and LoRA Picture Grid puts the images on one sheet. Two axes make a table."
            ),
            inputs=[
                lora_input(),
                io.Int.Input(
                    "entry",
                    default=1,
                    min=0,
                    max=1000,
                    tooltip="Which entry gets the values: 1 is the first entry, 0 is all enabled entries.",
                ),
                io.String.Input(
                    "values",
                    default="0.4, 0.55, 0.7, 0.85, 1",
                    tooltip="The weights to try: numbers, or a range such as 0.2:1:0.2 (from, to, step). "
                    "For the other axes: blocks (early; middle; late), steps (0-0.5, 0.5-1), entries (none, 1, 2, "
                    "all), version numbers, or prompts separated by semicolons.",
                ),
                io.Combo.Input(
                    "axis",
                    options=list(AXES),
                    default=AXES[0],
                    optional=True,
                    tooltip="What changes from image to image: the weight, the blocks that the entry applies to, the "
                    "steps that it applies to, which entries are enabled, the model version, or the prompt.",
                ),
                io.Combo.Input(
                    "axis_2",
                    options=[NO_AXIS, *AXES],
                    default=NO_AXIS,
                    optional=True,
                    tooltip="What changes from row to row, for a table of images. Choose none to use only one axis.",
                ),
                io.Int.Input(
                    "entry_2",
                    default=1,
                    min=0,
                    max=1000,
                    optional=True,
                    tooltip="Which entry the second axis changes: 1 is the first entry, 0 is all enabled entries.",
                ),
                io.String.Input(
                    "values_2",
                    default="",
                    optional=True,
                    tooltip="The values of the second axis, in the same format as for the first axis.",
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
                    tooltip="For LoRA Picture Grid: the entry and the weight.",
                ),
                io.String.Output(
                    display_name="prompt",
                    is_output_list=True,
                    tooltip="For CLIP Text Encode, if an axis changes the prompt. Otherwise empty.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @tells_programs
    def execute(
        cls,
        lora: str,
        entry: int,
        values: str,
        axis: str = "weight",
        axis_2: str = NO_AXIS,
        entry_2: int = 1,
        values_2: str = "",
    ) -> io.NodeOutput:
        """Returns arrays, labels, and prompts, as lists of the same length."""
        entries = read_array(lora)
        swept = sweep_both(
            entries,
            Axis(axis, entry, values),
            _second(axis_2, entry_2, values_2),
            cache(lambda number: _name_of(entries, number)),
            _versions_of,
        )
        labels = [each.label for each in swept]
        sweeps.remember(cls.hidden.unique_id, labels)
        return io.NodeOutput([each.lora for each in swept], labels, [each.prompt for each in swept])


def _second(axis: str, entry: int, values: str) -> Axis | None:
    return None if axis == NO_AXIS else Axis(axis, entry, values)


def _versions_of(identifier: Identifier) -> Sequence[tuple[Identifier, str]]:
    """The versions that CivitAI lists for the same base model, in its order.

    Also works for a file on this disk that is one of these versions. Raises a LoraResolverError.
    """
    from ..lora_resolver import InvalidInput, Resolver, parse_identifier, search

    config = resolver_config()
    named = identifier
    if identifier.source != "civitai" or not identifier.id:
        (file,) = Resolver(config).local_files([identifier])
        record = file.record if file is not None else None
        if record is None or not record.identifier.startswith("civitai:"):
            raise InvalidInput(
                f"{identifier} isn't known as a CivitAI model, so it has no other versions",
                code="invalidSweep",
                parameter="values",
                remedy="Write full identifiers instead of version numbers.",
            )
        named = parse_identifier(record.identifier)
    page = search.model_page(config, named)
    own = next(
        (
            each.record
            for each in page.versions
            if each.record.identifier == f"civitai:{named.id}@{named.version}"
        ),
        None,
    )
    return [
        (parse_identifier(each.record.identifier), each.record.version_name or each.record.identifier)
        for each in page.versions
        if own is None or each.record.base_model == own.base_model
    ]


def _name_of(entries: Sequence[LoraEntry], entry: int) -> str:
    """The entry's name at its source; empty if the source doesn't answer within `_NAME_SECONDS`."""
    from ..lora_resolver import LoraResolverError, Resolver, search  # late: they need an HTTP client

    if not 0 < entry <= len(entries):
        return ""
    identifier, config = entries[entry - 1].identifier, resolver_config()
    (file,) = Resolver(config).local_files([identifier])
    if file is not None:
        return file.record.name if file.record is not None else ""
    try:
        return search.describe(config, identifier, seconds=_NAME_SECONDS).name
    except LoraResolverError:  # the node that needs the file reports what is wrong with it
        return ""


_NAME_SECONDS = 5.0
