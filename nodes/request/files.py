"""Finds the checkpoint and the VAE of a request, as file names for ComfyUI's own loaders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...lora_resolver import HostedOnly, InvalidInput, LoraResolverError, NotFound, detect_checkpoint
from ..array.inputs import FROM_REQUEST
from ..server.model_folders import config_for, folder_with, loader_place
from ..server.routes.checkpoints import known_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...lora_resolver import Identifier, ImageRequest, PeekedLora, Progress


@dataclass(frozen=True)
class FoundFile:
    """A file in one of ComfyUI's model folders."""

    model: str
    """The request's identifier; empty if another file was chosen on the node."""
    folder: str
    name: str
    families: tuple[str, ...] = ()
    """A checkpoint's families, if its header shows them."""

    def as_dict(self) -> dict[str, Any]:
        """For a report."""
        return {
            "model": self.model,
            "folder": self.folder,
            "file": self.name,
            **({"architecture": list(self.families)} if self.families else {}),
        }


def find_checkpoint(
    asked: ImageRequest,
    chosen: str,
    progress: Callable[[Progress], None],
    otherwise: str = "choose a checkpoint file on this node",
) -> FoundFile:
    """The file that was chosen on the node, or else the request's model, which is downloaded if it's missing.

    `otherwise` tells what else the user can do. Raises LoraResolverError at `checkpoint` or `model`.
    """
    if chosen != FROM_REQUEST:
        folder = folder_with("checkpoint", chosen)
        if folder is None:
            raise NotFound(
                f"There is no checkpoint {chosen!r}",
                code="notFound",
                parameter="checkpoint",
                remedy="Choose a different checkpoint.",
            )
        return FoundFile("", folder, chosen, _families(folder, chosen))
    if asked.model is None:
        raise InvalidInput(
            "The request has no model",
            code="missingModel",
            parameter="model",
            remedy=f'Add "model": "civitai:…@…" to the request, or {otherwise}.',
        )
    try:
        folder, name = find_file(asked.model, "checkpoint", progress)
    except HostedOnly as error:
        raise HostedOnly(
            error.message,
            code=error.code,
            parameter="model",
            remedy=f"{error.remedy} Or {otherwise}.",
        ) from error
    except LoraResolverError as error:
        raise error.at("model") from None
    return FoundFile(str(asked.model), folder, name, _families(folder, name))


def find_vae(asked: ImageRequest, progress: Callable[[Progress], None]) -> FoundFile:
    """The request's VAE, which is downloaded if it's missing. Raises LoraResolverError at `vae`."""
    if asked.vae is None:
        raise InvalidInput(
            "The request has no VAE",
            code="missingModel",
            parameter="vae",
            remedy="Disconnect this output, and use the checkpoint's VAE.",
        )
    try:
        return FoundFile(str(asked.vae), *find_file(asked.vae, "vae", progress))
    except LoraResolverError as error:
        raise error.at("vae") from None


def find_file(identifier: Identifier, kind: str, progress: Callable[[Progress], None]) -> tuple[str, str]:
    """Returns (folder, name) of a file, which is downloaded if it's missing."""
    from ...lora_resolver import (
        Resolver,  # late, so that ComfyUI starts without loading an HTTP client
    )

    config = config_for(kind)
    path = Resolver(config).find_local(identifier)  # avoids hashing gigabytes for known files
    if path is None:
        if kind == "checkpoint" and _is_diffusion_model_alone(
            Resolver(config).peek(identifier, on_progress=progress)
        ):
            config = config_for(kind, download_to="diffusion_models")
        path = Resolver(config).resolve(identifier, on_progress=progress).path
    return loader_place(path, kind)


def _is_diffusion_model_alone(file: PeekedLora) -> bool:
    """Whether the file has neither a text encoder nor a VAE, so that it needs Load Diffusion Model."""
    if file.header is None:
        return False
    checkpoint = detect_checkpoint(file.header)
    return bool(checkpoint.families) and not {"text_encoders", "vae"}.intersection(checkpoint.parts)


def _families(folder: str, name: str) -> tuple[str, ...]:
    known = known_checkpoint((folder, name))
    return known.families if known is not None else ()
