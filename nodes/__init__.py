"""The list of the nodes, for ComfyUI's V3 API."""

from comfy_api.latest import ComfyExtension, io

from .analyze import AirLoraAnalyze
from .apply import AirLoraApply
from .array.node import AirLoraArray
from .grid import AirLoraGrid
from .hooks import AirLoraHooks
from .pick import AirLoraPick
from .prompt import AirLoraPrompt
from .request.node import AirLoraRequest
from .resolve import AirLoraResolve
from .save import AirLoraSave
from .sweep import AirLoraSweep


class AirLoraExtension(ComfyExtension):
    """All nodes of the pack."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Registers the pack's routes and returns the nodes.

        ComfyUI calls this once, when it starts, before it opens its server.
        """
        from .endpoint.route import register_endpoint
        from .server.picture_records import register_picture_records
        from .server.routes import register_routes

        register_routes()
        register_endpoint()
        register_picture_records()
        return [
            AirLoraAnalyze,
            AirLoraApply,
            AirLoraArray,
            AirLoraGrid,
            AirLoraHooks,
            AirLoraPick,
            AirLoraPrompt,
            AirLoraRequest,
            AirLoraResolve,
            AirLoraSave,
            AirLoraSweep,
        ]
