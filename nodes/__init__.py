"""The nodes, as ComfyUI's V3 API wants them listed."""

from comfy_api.latest import ComfyExtension, io

from .apply import AirLoraApply
from .array import AirLoraArray


class AirLoraExtension(ComfyExtension):
    """All nodes of the pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """ComfyUI asks once, at its start."""
        return [AirLoraApply, AirLoraArray]
