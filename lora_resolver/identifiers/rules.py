"""The rules for each part of an identifier: IDs, versions, digests, repositories, paths.

Each function checks one rule, and raises InvalidIdentifier with the name of the part. The rules apply to parsed and
hand-built identifiers alike, so that no other code ever gets a path that leaves its folder.
"""

from __future__ import annotations

import re

from ..errors import InvalidIdentifier
from ..text import quoted
from .file_names import is_safetensors, without_ending

__all__ = [
    "HUGGING_FACE_NAME",
    "LOCAL_NAME",
    "LORA_TYPES",
    "NOT_LORA_TYPES",
    "SPELLINGS",
    "check_digest",
    "check_file_path",
    "check_format",
    "check_hosted_part",
    "check_number",
    "check_printable",
    "check_repository",
    "check_revision",
    "check_source",
    "invalid",
    "is_full_path",
    "revision_text",
    "split_format",
    "split_revision",
]

SPELLINGS = (
    'Write "civitai:120096@135931", "huggingface:org/repo@main/file.safetensors", "sha256:<64 digits>" '
    'or "local:folder/name.safetensors".'
)
LOCAL_NAME = (
    'Put the file into a "loras" folder and write its name as the LoRA loaders list it, '
    'such as "local:styles/pixel.safetensors".'
)
HUGGING_FACE_NAME = 'Write "huggingface:org/repo@main/file.safetensors".'
_ONLY_SAFETENSORS = "Only .safetensors files are supported, because loading other formats can run code."

# The `type` of a URN (CivitAI's typeUrnMap, and the words in older URNs). Words in neither set are accepted, because
# the file's own header decides.
LORA_TYPES = frozenset({"lora", "lycoris", "dora", "locon", "loha", "lokr"})
NOT_LORA_TYPES = {
    "ag": "an aesthetic gradient",
    "checkpoint": "a checkpoint",
    "clip": "a CLIP model",
    "clipvision": "a CLIP vision model",
    "controlnet": "a ControlNet",
    "diffusion_model": "a diffusion model",
    "diffusionmodel": "a diffusion model",
    "embedding": "an embedding",
    "hypernet": "a hypernetwork",
    "hypernetwork": "a hypernetwork",
    "image": "a container image",
    "model": "a checkpoint",
    "motion": "a motion module",
    "nodepack": "a node pack",
    "nodepacklayer": "a node pack",
    "text_encoders": "a text encoder",
    "textualinversion": "an embedding",
    "unet": "a UNet",
    "upscaler": "an upscaler",
    "vae": "a VAE",
    "visionlanguage": "a vision language model",
}

_SAFE_FORMATS = frozenset({"safetensors", "safetensor", "sft"})
_OTHER_FORMATS = frozenset(
    {
        "bin",
        "ckpt",
        "coreml",
        "diffuser",
        "diffusers",
        "gguf",
        "onnx",
        "pickle",
        "pickletensor",
        "pt",
        "pth",
        "tar",
        "zip",
    }
)

_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_SOURCE = re.compile(r"[a-z0-9][a-z0-9_-]{1,63}")
_HOSTED_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_REPOSITORY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,95}/[A-Za-z0-9_-][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
# https://huggingface.co/docs/huggingface_hub: the branches with slashes are pull requests and converted files.
_SPECIAL_REVISION = re.compile(r"refs/(?:pr|convert)/[A-Za-z0-9_-][A-Za-z0-9._-]*")
# Control characters, lone surrogates, line separators, and marks that change the order of displayed text.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")
# Prefixes with another meaning. Accepting them as sources would hide mistakes.
_NO_SOURCES = (
    frozenset({"urn", "air", "hf", "http", "https", "ftp", "file", "data", "s3"})
    | LORA_TYPES
    | {*NOT_LORA_TYPES}
)


def invalid(message: str, remedy: str = "", code: str = "invalidIdentifier") -> InvalidIdentifier:
    """The error to raise."""
    return InvalidIdentifier(message, code=code, remedy=remedy)


def check_printable(text: str) -> None:
    """No control characters, NUL, line breaks, lone surrogates or text direction marks."""
    found = _UNPRINTABLE.search(text)
    if found and found.group() in "\r\n":
        raise invalid("The name contains a line break", "Name one model per entry.", "controlCharacter")
    if found:
        raise invalid(
            f"The name contains the control character U+{ord(found.group()):04X}",
            "Remove it.",
            "controlCharacter",
        )


def check_number(what: str, text: str) -> None:
    """A whole number above 0 in plain digits, as CivitAI numbers models, versions and files."""
    if not _NUMBER.fullmatch(text):
        raise invalid(
            f"The {what} {quoted(text)} isn't a whole number greater than 0"
            if text
            else f"The {what} is missing",
            'Write "civitai:<model ID>@<version ID>", such as "civitai:120096@135931".',
        )


def check_digest(text: str) -> None:
    """64 lower-case hex digits."""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        digits = len(text)
        reason = f"has {digits}" if re.fullmatch(r"[0-9a-fA-F]*", text) else "contains other characters"
        raise invalid(
            f"A SHA-256 has 64 hex digits, but this one {reason}",
            "Copy the whole SHA256 from the file's details. The short AutoV2 and AutoV3 hashes aren't supported.",
            "invalidHash",
        )


def check_source(text: str) -> None:
    """The provider of a hosted model: a lower-case word, as Runware and its users choose them."""
    if not text:
        raise invalid("The source is missing", SPELLINGS, "unknownSource")
    if not _SOURCE.fullmatch(text) or text in _NO_SOURCES:
        kind = (
            "is a type, not a source"
            if text in LORA_TYPES or text in NOT_LORA_TYPES
            else "isn't a valid source"
        )
        raise invalid(f"{quoted(text)} {kind}", SPELLINGS, "unknownSource")


def check_hosted_part(what: str, text: str) -> None:
    """Id or version of a hosted model: letters, digits, `.`, `_`, `-`, in parts between slashes."""
    if len(text) > 256 or ".." in text or not _HOSTED_PART.fullmatch(text):
        problem = f"The {what} {quoted(text)} isn't valid" if text else f"The {what} is missing"
        raise invalid(problem, 'Write a hosted model as "runware:100@1" or "runware:z-image@turbo".')
    if split_format(text)[1]:
        raise invalid(f"The {what} {quoted(text)} looks like a file name")


def check_repository(text: str) -> None:
    """`org/repo`, as Hugging Face writes it."""
    if not _REPOSITORY.fullmatch(text) or ".." in text or split_format(text)[1]:
        raise invalid(
            f"{quoted(text)} isn't the name of a Hugging Face repository",
            HUGGING_FACE_NAME,
        )


def check_revision(text: str) -> None:
    """A branch, tag or commit of a Hugging Face repository."""
    # "refs" followed by a path would be ambiguous with refs/pr/1.
    if (
        len(text) > 255
        or ".." in text
        or text == "refs"
        or not _REVISION.fullmatch(text)
        or split_format(text)[1]
    ):
        raise invalid(
            f"{quoted(text)} isn't a branch, tag, or commit" if text else "The revision after @ is missing",
            HUGGING_FACE_NAME,
        )


def is_full_path(text: str) -> bool:
    """Whether `text` begins like a path from a drive, a root, a server or a home folder, on any system."""
    return bool(re.match(r"[A-Za-z]:(?:[/\\]|\Z)|[/\\]|~[/\\]", text))


def check_file_path(path: str, remedy: str) -> None:
    """A relative path of a .safetensors file that stays inside its folder on every operating system."""
    if not path:
        raise invalid("The file name is missing", remedy)
    check_printable(path)
    if is_full_path(path):
        raise invalid(f"{quoted(path)} is a full path", remedy, "unsafePath")
    if ":" in path or "\\" in path:
        character = "a colon" if ":" in path else "a backslash"
        raise invalid(f"The path {quoted(path)} contains {character}", remedy, "unsafePath")
    if len(path) > 1024:
        raise invalid(
            f"The path {quoted(path)} is too long ({len(path):,} characters)",
            "The limit is 1,024 characters.",
            "unsafePath",
        )
    for part in path.split("/"):
        _check_path_part(path, part, remedy)
    name = path.rpartition("/")[2]
    if is_safetensors(name) and not without_ending(name):
        raise invalid(f"The file name has nothing before {name}", remedy, "unsafePath")
    if split_format(name)[1] not in (None, "safetensors", "sft"):
        raise invalid(f"{quoted(name)} isn't a safetensors file", _ONLY_SAFETENSORS, "unsupportedFormat")
    if not is_safetensors(name):
        whole = quoted(f"{name}.safetensors")
        raise invalid(
            f'{quoted(name)} doesn\'t end in ".safetensors"',
            f"Write the full name, {whole}.",
            "unsupportedFormat",
        )


def _check_path_part(path: str, part: str, remedy: str) -> None:
    if part in ("", ".", ".."):
        problem = f'contains a "{part}" part' if part else "contains an empty part between slashes"
        raise invalid(f"The path {quoted(path)} {problem}", remedy, "unsafePath")
    if part.endswith((".", " ")):
        # Windows drops them, so that ".. " would be ".." there.
        ending = "dot" if part.endswith(".") else "space"
        raise invalid(f"{quoted(part)} ends with a {ending}", "Rename the file or folder.", "unsafePath")
    if len(part.encode()) > 255:
        raise invalid(f"The name {quoted(part)} is longer than 255 bytes", "Rename it.", "unsafePath")


def split_format(text: str) -> tuple[str, str | None]:
    """(`text` without the file format at its end, the format in lower case): `135931.safetensors` isn't a version."""
    rest, dot, ending = text.rpartition(".")
    if dot and ending.lower() in _SAFE_FORMATS | _OTHER_FORMATS:
        return rest, ending.lower()
    return text, None


def check_format(file_format: str | None) -> None:
    """Rejects formats other than safetensors."""
    if file_format not in (None, *_SAFE_FORMATS):
        raise invalid(
            f"Unsupported file format {quoted(str(file_format))}", _ONLY_SAFETENSORS, "unsupportedFormat"
        )


def revision_text(revision: str) -> str:
    """A revision for use before a path: its own slashes become %2F, except in `refs/pr/1` and the like."""
    return revision if _SPECIAL_REVISION.fullmatch(revision) else revision.replace("/", "%2F")


def split_revision(text: str) -> tuple[str, str | None]:
    """(revision, path or None): the inverse of `revision_text` followed by a path."""
    special = _SPECIAL_REVISION.match(text)
    if special and text[special.end() : special.end() + 1] in ("", "/"):
        return special.group(), text[special.end() + 1 :] or None
    revision, slash, path = text.partition("/")
    return re.sub("%2f", "/", revision, flags=re.IGNORECASE), path if slash else None
