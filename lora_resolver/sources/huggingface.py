"""Hugging Face: names are read, and files that are on this disk already are found; downloads are yet to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ..errors import NotFound

if TYPE_CHECKING:
    from ..identifiers import Identifier
    from .desk import Desk

__all__ = ["locate"]


def locate(identifier: Identifier, desk: Desk) -> NoReturn:
    """Raises NotFound, which says where the file is to be had and where to put it."""
    repository = f"{desk.config.hf_endpoint}/{identifier.id}"
    if identifier.path is None:
        where = repository
        name = "name.safetensors"
    else:
        where = f"{repository}/resolve/{identifier.version}/{identifier.path}"
        name = identifier.path.rsplit("/", 1)[-1]
    raise NotFound(
        f"{identifier} is not on this disk, and this version does not download from Hugging Face",
        code="notDownloadable",
        remedy=f'Download {where} into a "loras" folder and write "local:{name}".',
    )
