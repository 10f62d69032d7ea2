"""Providers that run a model and don't publish its weights (`runware:…`, `bfl:…`, a user's own sources).

`aliases.json` in the state folder may map such a name to an available file:

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
"""Maximum size of aliases.json."""


def locate(identifier: Identifier, context: SourceContext) -> OnDisk | Alias:
    """What the user's aliases map the identifier to. Raises HostedOnly if there is no alias."""
    aliases = context.config.state / "aliases.json"
    target = _read(aliases).get(str(identifier))
    if target is None:
        raise HostedOnly(
            f"{identifier} runs only on its provider's servers, and its weights aren't public",
            code="hostedOnly",
            remedy=f'To use your own file for it, add {{"{identifier}": "local:name.safetensors"}} to {aliases}.',
        )
    if not isinstance(target, str) or not target.strip():
        raise _bad(aliases, identifier, "the value isn't text")
    path = Path(target).expanduser()
    if path.is_absolute():
        if not path.is_file():
            raise NotFound(
                f"{aliases} maps {identifier} to {path}, which doesn't exist",
                code="notFound",
                remedy="Fix the path in that file.",
            )
        return OnDisk(path)
    try:
        return Alias(parse_identifier(target))
    except InvalidIdentifier as error:
        raise _bad(aliases, identifier, error.message) from error


def _read(aliases: Path) -> dict[str, Any]:
    try:
        content = read_json_file(aliases, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{aliases} can't be read: {error}",
            code="badAliases",
            remedy='It must contain JSON such as {"runware:97@1": "civitai:618692@691639"}.',
        ) from error
    if not isinstance(content, dict):
        raise InvalidInput(
            f"{aliases} doesn't contain a JSON object",
            code="badAliases",
            remedy='It must contain JSON such as {"runware:97@1": "civitai:618692@691639"}.',
        )
    return {str(_canonical(key)): value for key, value in content.items()}


def _canonical(text: str) -> str:
    try:
        return str(parse_identifier(text))
    except InvalidIdentifier:
        return text


def _bad(aliases: Path, identifier: Identifier, what: str) -> InvalidInput:
    return InvalidInput(
        f"Invalid entry for {identifier} in {aliases}: {what}",
        code="badAliases",
        remedy="Use an identifier (civitai:1@2, local:name.safetensors) or the full path of a file.",
    )
