"""Rewrites addresses of model pages and downloads to the short form that `identifier` parses.

Accepts addresses of CivitAI (civitai.com, .red, .green) and Hugging Face (huggingface.co, hf.co, and the mirror in
HF_ENDPOINT). Other routes on these sites are rejected, not guessed. Parameters that choose a file of a version are kept
(see `file_choice`). Everything else in an address (tokens, logins, tracking) is dropped here.
"""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ..text import quoted
from .file_choice import file_choice
from .rules import invalid, revision_text

__all__ = ["know_mirror", "short_form"]

_CIVITAI_HOSTS = frozenset({"civitai.com", "civitai.red", "civitai.green"})
_HUGGING_FACE_HOSTS = frozenset({"huggingface.co", "hf.co"})
_ADDRESS = re.compile(
    r"[a-z][a-z0-9+.-]{1,20}://|//|(?:www\.)?(?:civitai\.(?:com|red|green)|huggingface\.co|hf\.co)(?:[/?#:]|\Z)",
    re.IGNORECASE,
)
_CIVITAI_MODEL = re.compile(r"/(?:api/v1/)?models/([0-9]{1,18})(?:/.*)?")
_CIVITAI_VERSION = re.compile(
    r"/(?:api/download/models|api/v1/model-versions|(?:models/(?P<model>[0-9]{1,18})/)?model-versions)"
    r"/(?P<version>[0-9]{1,18})(?:/.*)?"
)

_PASTE_CIVITAI = (
    "Open the model's page and copy its address, such as "
    "https://civitai.com/models/120096?modelVersionId=135931."
)
_PASTE_HUGGING_FACE = (
    "Open the file's page and copy its address, such as "
    "https://huggingface.co/org/repo/blob/main/file.safetensors."
)


_mirrors: set[str] = set()


def know_mirror(endpoint: str) -> None:
    """Treats addresses below this one as Hugging Face's. Those below HF_ENDPOINT always are."""
    _mirrors.add(endpoint)


def short_form(text: str) -> str | None:
    """The short form of the identifier that the address `text` stands for; None if `text` isn't an address.

    Raises InvalidIdentifier for addresses of other sites, and for pages that aren't a model's.
    """
    if not _ADDRESS.match(text):
        return None
    if re.search(r"\s", text):
        raise invalid("An address can't contain spaces", _PASTE_CIVITAI, "unknownAddress")
    if text.lower().startswith("hf://"):
        return f"huggingface:{text[5:]}"
    has_scheme = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text)
    try:
        address = urlsplit(text if has_scheme else f"https://{text.removeprefix('//')}")
        host = (address.hostname or "").removeprefix("www.")
    except ValueError:  # square brackets without an IPv6 address
        raise invalid("This isn't a valid address", _PASTE_CIVITAI, "unknownAddress") from None
    if address.scheme.lower() in ("http", "https"):
        if host in _CIVITAI_HOSTS:
            return _civitai(address.path, address.query)
        if host in _HUGGING_FACE_HOSTS:
            return _hugging_face(address.path)
        for mirror in filter(None, (os.environ.get("HF_ENDPOINT", "").strip(), *sorted(_mirrors))):
            inside = _path_below(mirror, host, address)
            if inside is not None:
                return _hugging_face(inside)
    raise invalid(
        "Only CivitAI and Hugging Face addresses are supported",
        'To use a file from another site, put it into a "loras" folder and write "local:name.safetensors". '
        "To use a Hugging Face mirror, set HF_ENDPOINT to its address.",
        "unknownAddress",
    )


def _path_below(mirror: str, host: str, address: SplitResult) -> str | None:
    """The path on the Hub for an address of a mirror; None if the address belongs to another site."""
    try:
        base = urlsplit(mirror)
        same = (base.hostname or "").removeprefix("www.") == host and base.port == address.port
    except ValueError:  # a port that isn't a number
        return None
    before = base.path.rstrip("/")
    return address.path[len(before) :] if same and address.path.startswith(f"{before}/") else None


def _civitai(path: str, query: str) -> str:
    file_id, choice = file_choice(query)
    file = f"+{file_id}" if file_id is not None else f"?{choice}" if choice else ""
    if version := _CIVITAI_VERSION.fullmatch(path):
        return f"civitai:{version['model'] or ''}@{version['version']}{file}"
    model = _CIVITAI_MODEL.fullmatch(path)
    if not model:
        raise invalid("This CivitAI address isn't a model page", _PASTE_CIVITAI, "unknownAddress")
    versions = [
        value for key, value in parse_qsl(query, keep_blank_values=True) if key.lower() == "modelversionid"
    ]
    if not versions:
        return f"civitai:{model[1]}{file}"
    if not re.fullmatch(r"[0-9]{1,18}", versions[0]):
        raise invalid(f"modelVersionId is {quoted(versions[0])}, which isn't a number", _PASTE_CIVITAI)
    return f"civitai:{model[1]}@{versions[0]}{file}"


def _hugging_face(path: str) -> str:
    parts = [part for part in path.split("/") if part]
    if len(parts) < 2 or parts[0] in ("datasets", "spaces", "docs", "api", "collections", "blog", "papers"):
        raise invalid("This Hugging Face address isn't a model page", _PASTE_HUGGING_FACE, "unknownAddress")
    repository = f"huggingface:{parts[0]}/{parts[1]}"
    if len(parts) == 2:
        return repository
    route, behind = parts[2], [unquote(part) for part in parts[3:]]
    revision_parts = 3 if behind[:1] == ["refs"] else 1
    revision, file = "/".join(behind[:revision_parts]), behind[revision_parts:]
    if route in ("resolve", "blob", "raw") and file:
        return f"{repository}@{revision_text(revision)}/{'/'.join(file)}"
    if route == "tree" and revision and not file:
        return f"{repository}@{revision_text(revision)}"
    raise invalid("This Hugging Face address doesn't point to a file", _PASTE_HUGGING_FACE, "unknownAddress")
