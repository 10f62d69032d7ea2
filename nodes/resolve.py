"""Resolve LoRA: an identifier in, the name that ComfyUI's own loaders take out."""

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
    """One LoRA, found or downloaded, for whatever loads it."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Ids are part of every saved workflow: they stay."""
        return io.Schema(
            node_id="AirLoraResolve",
            display_name="Resolve LoRA",
            category="loaders/AIR LoRA",
            description="Finds or downloads one LoRA and gives the name under which other loaders list it.",
            inputs=[
                io.String.Input(
                    "identifier",
                    default="",
                    placeholder="civitai:120096@135931",
                    tooltip="An AIR, the address of a model page, huggingface:…, sha256:… or local:….",
                ),
            ],
            outputs=[
                LoaderName.Output(
                    display_name="lora_name",
                    tooltip="For the lora_name of Load LoRA and other packs' loaders.",
                ),
                io.String.Output(display_name="path", tooltip="Where the file lies."),
                io.String.Output(display_name="trigger_words", tooltip="Comma-separated."),
                io.String.Output(display_name="info", tooltip="What is known of it, as JSON."),
            ],
            hidden=[io.Hidden.unique_id, io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def validate_inputs(cls, identifier: str | None) -> bool | str:
        """Refuses what names no model when the prompt is queued. A wired-in text is not known yet: None."""
        if identifier is None:
            return True
        try:
            parse_identifier(identifier)
        except InvalidIdentifier as error:
            return str(error.at("identifier"))
        return True

    @classmethod
    def fingerprint_inputs(cls, identifier: str | None = None, **_others: Any) -> str:
        """Runs again when a file with a local name was replaced; reads no file and no network."""
        return array_fingerprint(None if identifier is None else json.dumps([{"model": identifier}]))

    @classmethod
    @tells_programs
    def execute(cls, identifier: str) -> io.NodeOutput:
        """Name, path, trigger words, info."""
        from ..lora_resolver import (
            Resolver,
        )  # late: it needs an HTTP client, which no start of ComfyUI waits for

        try:
            wanted = parse_identifier(identifier)
        except InvalidIdentifier as error:
            raise error.at("identifier") from None
        file = Resolver(resolver_config()).resolve(wanted, on_progress=NodeProgress(cls.hidden.unique_id))
        record_run(cls.hidden, [handed_on(wanted, file)])
        info = json.dumps(_info(file), ensure_ascii=False, indent=2)
        return io.NodeOutput(loader_name(file.path), str(file.path), ", ".join(file.trigger_words), info)


def _info(file: ResolvedLora) -> dict[str, Any]:
    from .array.apply import file_facts  # late: no start of ComfyUI waits for the patching

    facts: dict[str, Any] = {"model": str(file.identifier), **file_facts(file)}
    if file.record is not None:
        facts |= {
            "version": file.record.version_name,
            "base_model": file.record.base_model,
            "page": file.record.page_url,
        }
    return facts
