"""Providers that run a model and do not give its weights away (`runware:…`, `bfl:…`, a user's own sources).

`aliases.json` in the state folder may map such a name to something that can be had:

    {"runware:97@1": "civitai:618692@691639", "mycompany:123@2": "/models/loras/house-style.safetensors"}
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HostedOnly, InvalidIdentifier, InvalidInput, NotFound
from ..identifiers import parse_identifier
from ..safe_files import read_json_file
from .context import Alias, OnDisk

if TYPE_CHECKING:
    from ..identifiers import Identifier
    from .context import SourceContext

__all__ = ["locate"]


MAX_BYTES = 4 * 1024**2
"""Of aliases.json."""


def locate(identifier: Identifier, context: SourceContext) -> OnDisk | Alias:
    """What the user's aliases say, or HostedOnly."""
    aliases = context.config.state / "aliases.json"
    target = _read(aliases).get(str(identifier))
    if target is None:
        raise HostedOnly(
            f"{identifier} runs on its provider's servers only; its weights are not public",
            code="hostedOnly",
            remedy=f'To use a file of your own for it, put {{"{identifier}": "local:name.safetensors"}} in {aliases}.',
        )
    if not isinstance(target, str) or not target.strip():
        raise _bad(aliases, identifier, "is not a text")
    path = Path(target).expanduser()
    if path.is_absolute():
        if not path.is_file():
            raise NotFound(
                f"{aliases} maps {identifier} to {path}, which does not exist",
                code="notFound",
                remedy="Correct the path in that file.",
            )
        return OnDisk(path)
    try:
        return Alias(parse_identifier(target))
    except InvalidIdentifier as error:
        raise _bad(aliases, identifier, f"names no model: {error.message}") from error


def _read(aliases: Path) -> dict[str, Any]:
    try:
        content = read_json_file(aliases, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{aliases} cannot be read: {error}",
            code="badAliases",
            remedy='It must be JSON like {"runware:97@1": "civitai:618692@691639"}.',
        ) from error
    if not isinstance(content, dict):
        raise InvalidInput(
            f"{aliases} holds no object",
            code="badAliases",
            remedy='It must be JSON like {"runware:97@1": "civitai:618692@691639"}.',
        )
    return {str(_canonical(key)): value for key, value in content.items()}


def _canonical(text: str) -> str:
    try:
        return str(parse_identifier(text))
    except InvalidIdentifier:
        return text


def _bad(aliases: Path, identifier: Identifier, what: str) -> InvalidInput:
    return InvalidInput(
        f"what {aliases} says for {identifier} {what}",
        code="badAliases",
        remedy="Map it to an identifier (civitai:1@2, local:name.safetensors) or to the full path of a file.",
    )
