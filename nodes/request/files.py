"""The checkpoint and the VAE that a request names, as files that ComfyUI's own loaders take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...lora_resolver import HostedOnly, InvalidInput, NotFound, detect_checkpoint
from ..array.inputs import FROM_REQUEST
from ..server.model_folders import config_for, folder_with, loader_place
from ..server.routes.checkpoints import known_checkpoint

if TYPE_CHECKING:
    from ...lora_resolver import Identifier, ImageRequest, PeekedLora
    from ..server.progress import NodeProgress


@dataclass(frozen=True)
class FoundFile:
    """A file in one of ComfyUI's model folders."""

    model: str
    """As the request names it; empty for a file that was chosen in its place."""
    folder: str
    name: str
    families: tuple[str, ...] = ()
    """Of a checkpoint, as far as its header tells."""

    def as_dict(self) -> dict[str, Any]:
        """For a report."""
        return {
            "model": self.model,
            "folder": self.folder,
            "file": self.name,
            **({"architecture": list(self.families)} if self.families else {}),
        }


def find_checkpoint(asked: ImageRequest, chosen: str, progress: NodeProgress) -> FoundFile:
    """The file that was chosen on the node, else the request's model, downloaded if need be.

    Raises LoraResolverError at `checkpoint` or `model`.
    """
    if chosen != FROM_REQUEST:
        folder = folder_with("checkpoint", chosen)
        if folder is None:
            raise NotFound(
                f"there is no checkpoint {chosen!r}",
                code="notFound",
                parameter="checkpoint",
                remedy="Choose another one.",
            )
        return FoundFile("", folder, chosen, _families(folder, chosen))
    if asked.model is None:
        raise InvalidInput(
            "the request names no model",
            code="missingModel",
            parameter="model",
            remedy='Add "model": "civitai:…@…" to it, or choose a file as checkpoint on this node.',
        )
    try:
        folder, name = _find(asked.model, "checkpoint", progress)
    except HostedOnly as error:
        raise HostedOnly(
            error.message,
            code=error.code,
            parameter="model",
            remedy=f"{error.remedy} Or choose a file as checkpoint on this node.",
        ) from error
    return FoundFile(str(asked.model), folder, name, _families(folder, name))


def find_vae(asked: ImageRequest, progress: NodeProgress) -> FoundFile:
    """The request's VAE, downloaded if need be. Raises LoraResolverError at `vae`."""
    if asked.vae is None:
        raise InvalidInput(
            "the request names no VAE",
            code="missingModel",
            parameter="vae",
            remedy="Disconnect this output and use the VAE of the checkpoint.",
        )
    return FoundFile(str(asked.vae), *_find(asked.vae, "vae", progress))


def _find(identifier: Identifier, kind: str, progress: NodeProgress) -> tuple[str, str]:
    """(folder, name) of a file that is on this disk, or is then."""
    from ...lora_resolver import (
        Resolver,  # late: it needs an HTTP client, which no start of ComfyUI waits for
    )

    config = config_for(kind)
    path = Resolver(config).find_local(identifier)  # what is known already needs no hashing of gigabytes
    if path is None:
        if kind == "checkpoint" and _is_diffusion_model_alone(
            Resolver(config).peek(identifier, on_progress=progress)
        ):
            config = config_for(kind, download_to="diffusion_models")
        path = Resolver(config).resolve(identifier, on_progress=progress).path
    return loader_place(path, kind)


def _is_diffusion_model_alone(file: PeekedLora) -> bool:
    """Whether Load Checkpoint would find neither text encoder nor VAE in it; Load Diffusion Model is for those."""
    if file.header is None:
        return False
    checkpoint = detect_checkpoint(file.header)
    return bool(checkpoint.families) and not {"text_encoders", "vae"}.intersection(checkpoint.parts)


def _families(folder: str, name: str) -> tuple[str, ...]:
    known = known_checkpoint((folder, name))
    return known.families if known is not None else ()
