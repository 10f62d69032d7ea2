"""Resolve LoRA: resolves an identifier to the file name that ComfyUI's own loaders take."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..lora_resolver import InvalidIdentifier, parse_identifier
from .array.inputs import LoaderName, array_fingerprint
from .server.failures import tells_programs
from .server.model_folders import loader_name
from .server.picture_records import handed_on, record_run
from .server.progress import NodeProgress
from .server.settings import resolver_config

if TYPE_CHECKING:
    from ..lora_resolver import ResolvedLora


class AirLoraResolve(io.ComfyNode):
    """Finds or downloads one LoRA, for any loader."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Saved workflows contain these IDs, so they never change."""
        return io.Schema(
            node_id="AirLoraResolve",
            display_name="Resolve LoRA",
            category="loaders/AIR LoRA",
            description="Finds or downloads one LoRA and returns the file name that other loaders use for it.",
            inputs=[
                io.String.Input(
                    "identifier",
                    default="",
                    placeholder="civitai:120096@135931",
                    tooltip="An AIR, the URL of a model page, huggingface:…, sha256:…, or local:….",
                ),
            ],
            outputs=[
                LoaderName.Output(
                    display_name="lora_name",
                    tooltip="For the lora_name input of Load LoRA and other packs' loaders.",
                ),
                io.String.Output(display_name="path", tooltip="The path of the file."),
                io.String.Output(display_name="trigger_words", tooltip="Comma-separated."),
                io.String.Output(display_name="info", tooltip="Information about the LoRA, as JSON."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def validate_inputs(cls, identifier: str | None) -> bool | str:
        """Rejects an invalid identifier when the prompt is queued. A connected text is still None then."""
        if identifier is None:
            return True
        try:
            parse_identifier(identifier)
        except InvalidIdentifier as error:
            return str(error.at("identifier"))
        return True

    @classmethod
    def fingerprint_inputs(cls, identifier: str | None = None, **_others: Any) -> str:
        """Changes when a file with a local name is replaced, so that the node runs again.

        Reads no file contents, and doesn't use the network.
        """
        return array_fingerprint(None if identifier is None else json.dumps([{"model": identifier}]))

    @classmethod
    @tells_programs
    def execute(cls, identifier: str) -> io.NodeOutput:
        """Returns the name, the path, the trigger words, and the info."""
        from ..lora_resolver import (
            Resolver,
        )  # late, so that ComfyUI starts without loading an HTTP client

        try:
            wanted = parse_identifier(identifier)
        except InvalidIdentifier as error:
            raise error.at("identifier") from None
        file = Resolver(resolver_config()).resolve(wanted, on_progress=NodeProgress(cls.hidden.unique_id))
        record_run(cls.hidden, [handed_on(wanted, file)])
        info = json.dumps(_info(file), ensure_ascii=False, indent=2)
        return io.NodeOutput(loader_name(file.path), str(file.path), ", ".join(file.trigger_words), info)


def _info(file: ResolvedLora) -> dict[str, Any]:
    from .array.apply import file_facts  # late, so that ComfyUI starts without loading the patching code

    facts: dict[str, Any] = {"model": str(file.identifier), **file_facts(file)}
    if file.record is not None:
        facts |= {
            "version": file.record.version_name,
            "base_model": file.record.base_model,
            "page": file.record.page_url,
        }
    return facts
