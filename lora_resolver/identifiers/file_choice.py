"""What a download address of CivitAI says of the file, beside its version: `?fileId=502`, `?fp=fp16&size=pruned`.

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
    """(file id, the other choices in one spelling) of an address's query; whatever else is in it is left out.

    >>> file_choice("type=Model&format=SafeTensor&token=…")
    (None, 'format=safetensor&type=model')

    Raises InvalidIdentifier for a value that no file has.
    """
    try:
        fields = parse_qsl(query, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise invalid(
            "the address has too many parts behind its ?", "Leave them out.", "unknownAddress"
        ) from None
    said = {key.lower(): value.strip() for key, value in reversed(fields) if value.strip()}
    if "fileid" in said:
        number = whole_number(said["fileid"], _LARGEST_ID, least=1)
        if number is None:
            raise invalid("fileId is not a whole number above 0", "Copy the address of the download again.")
        return number, None
    text = "&".join(f"{key}={quote(said[key].lower())}" for key in _TRAITS if key in said)
    if text:
        check_choice(text)
    return None, text or None


def check_choice(text: str) -> None:
    """Raises InvalidIdentifier for what `file_choice` does not give."""
    traits = traits_of(text)
    for key, value in traits.items():
        if key not in _TRAITS or not _VALUE.fullmatch(value):
            raise invalid(
                f"no file of CivitAI has {key[:20]}={value[:40]!r}", 'Write it like "?fp=fp16&size=pruned".'
            )
    check_format(traits.get("format"))
    if "&".join(f"{key}={quote(traits[key])}" for key in _TRAITS if key in traits) != text:
        raise invalid("the choice of a file cannot be read", 'Write it like "?fp=fp16&size=pruned".')


def traits_of(text: str) -> dict[str, str]:
    """Name → value, in lower case: what the file must be."""
    return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS))


def agrees(wanted: dict[str, str], traits: dict[str, str]) -> bool:
    """Whether a file may be the one that is wanted: of its type, and with nothing that contradicts.

    What the file does not say is no contradiction, as at the site (civitai: file.service.ts, getFileForModelVersion).
    """
    return all(traits.get(key, "" if key == "type" else value) == value for key, value in wanted.items())
