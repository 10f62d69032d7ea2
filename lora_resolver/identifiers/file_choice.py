"""The parameters of CivitAI's download addresses that choose a file: `?fileId=502`, `?fp=fp16&size=pruned`.

https://developer.civitai.com/site/reference/model-versions: `type`, `format`, `size` and `fp` choose among the
files of a version; a file id is exact.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote

from ..safe_files import whole_number
from .rules import check_format, invalid

__all__ = ["agrees", "check_choice", "file_choice", "traits_of"]

_TRAITS = ("format", "fp", "quanttype", "size", "type")
_VALUE = re.compile(r"[a-z0-9][a-z0-9 ._-]{0,39}")
_MOST_FIELDS = 100
_LARGEST_ID = 10**18 - 1


def file_choice(query: str) -> tuple[int | None, str | None]:
    """(file ID, the other choices in one spelling) from an address's query. Other parameters are left out.

    >>> file_choice("type=Model&format=SafeTensor&token=…")
    (None, 'format=safetensor&type=model')

    Raises InvalidIdentifier for an invalid value.
    """
    try:
        fields = parse_qsl(query, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise invalid(
            "The address has too many parameters after the ?", "Remove the parameters.", "unknownAddress"
        ) from None
    said = {key.lower(): value.strip() for key, value in reversed(fields) if value.strip()}
    if "fileid" in said:
        number = whole_number(said["fileid"], _LARGEST_ID, least=1)
        if number is None:
            raise invalid("fileId must be a whole number greater than 0", "Copy the download address again.")
        return number, None
    text = "&".join(f"{key}={quote(said[key].lower())}" for key in _TRAITS if key in said)
    if text:
        check_choice(text)
    return None, text or None


def check_choice(text: str) -> None:
    """Raises InvalidIdentifier for a text that `file_choice` can't return."""
    traits = traits_of(text)
    for key, value in traits.items():
        if key not in _TRAITS or not _VALUE.fullmatch(value):
            raise invalid(
                f"Unsupported file option {key[:20]}={value[:40]!r}", 'Write it like "?fp=fp16&size=pruned".'
            )
    check_format(traits.get("format"))
    if "&".join(f"{key}={quote(traits[key])}" for key in _TRAITS if key in traits) != text:
        raise invalid("Invalid file options", 'Write it like "?fp=fp16&size=pruned".')


def traits_of(text: str) -> dict[str, str]:
    """The traits in the text: name → value, in lower case."""
    return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))


def agrees(wanted: dict[str, str], traits: dict[str, str]) -> bool:
    """Whether a file may be the wanted one: it has the wanted type, and none of its traits contradicts.

    A missing trait isn't a contradiction, as on the site (civitai: file.service.ts, getFileForModelVersion).
    """
    return all(traits.get(key, "" if key == "type" else value) == value for key, value in wanted.items())
