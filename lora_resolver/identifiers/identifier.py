"""Parses any spelling of a LoRA's name into one immutable value with one canonical text.

    civitai:<model>@<version>[+<file>]            civitai:120096@135931, civitai:120096@latest, civitai:120096
    civitai:@<version>                            from a download address, which has no model ID; the version is enough
    civitai:<model>@<version>?fp=fp16&size=full   a file of the version, in the notation of download addresses
    huggingface:<org>/<repo>@<revision>/<path>    huggingface:alvdansen/flux-koda@main/flux_dev_koda.safetensors
    sha256:<64 lower-case hex digits>
    local:<path as ComfyUI's loaders list it>     local:styles/pixel.safetensors
    <source>:<id>@<version>                       runware:100@1: on that source's own servers only

Also accepted: `urn:air:{ecosystem}:{type}:{source}:{id}[@{version}][+{fileId}][.{format}]` with or without its prefixes
(https://developer.civitai.com/site/guide/air), Runware's short form, `hf:` and `hf://`, and the addresses of model
pages and downloads. CivitAI's own lenient parser has pitfalls (a version that includes `.safetensors`, `lora:` read as
an ecosystem, sources in capitals, any `foo:bar`). This parser avoids them.

Other texts raise InvalidIdentifier, whose remedy gives the correct spelling if it can be guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from ..errors import InvalidIdentifier
from ..text import nearest, quoted
from .addresses import short_form
from .file_choice import check_choice, file_choice
from .rules import (
    HUGGING_FACE_NAME,
    LOCAL_NAME,
    LORA_TYPES,
    NOT_LORA_TYPES,
    SPELLINGS,
    check_digest,
    check_file_path,
    check_format,
    check_hosted_part,
    check_number,
    check_printable,
    check_repository,
    check_revision,
    check_source,
    invalid,
    is_full_path,
    revision_text,
    split_format,
    split_revision,
)
from .suggestions import is_prompt_tag, suggestion

__all__ = ["DOWNLOADABLE_SOURCES", "MAX_CHARACTERS", "Identifier", "parse_identifier"]

DOWNLOADABLE_SOURCES = ("civitai", "huggingface", "sha256", "local")
MAX_CHARACTERS = 4096

# `civitai:120096 @ 135931`, as people type it.
_BLANKS_AT_SIGNS = re.compile(r"(?<=[0-9])[ \t]*([@+])[ \t]*(?=[0-9])")
_HINT = re.compile(r"[A-Za-z0-9_/.-]{1,64}")
# Invisible characters that text copied from a browser or a chat may begin or end with.
_INVISIBLE_EDGES = " \t\r\n\f\v\u00a0\u200b\u200c\u200d\u2060\ufeff"
# These errors already say what to do; a suggested spelling would only distract.
_SELF_EXPLANATORY = ("typeNotLora", "unsupportedFormat", "controlCharacter", "invalidHash")


@dataclass(frozen=True)
class Identifier:
    """The name of one LoRA. Equal values mean the same LoRA. `str()` is the canonical text, which parses back to it.

    `id` is the model ID of CivitAI (empty where only the version is known), `org/repo`, the digest, the local path
    with forward slashes, or a hosted model's ID. `version` is CivitAI's version ID or `latest`, a Hugging Face
    revision, or a hosted model's version; `path` is the file inside a Hugging Face repository. `choice` has the
    parameters of a CivitAI download address that choose a file without its ID: "format=safetensor&fp=fp16". The last
    three fields are other parts of a URN (in lower case): hints that may be wrong and don't affect equality.

    Raises InvalidIdentifier for parts that the canonical text can't represent.
    """

    source: str
    id: str
    version: str | None = None
    file_id: int | None = None
    path: str | None = None
    choice: str | None = None
    ecosystem: str | None = field(default=None, compare=False)
    resource_type: str | None = field(default=None, compare=False)
    file_format: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.source == "civitai":
            if self.id or self.version is None:
                check_number("model ID", self.id)
            if self.version is not None and not (self.version == "latest" and self.id):
                check_number("version ID", self.version)
        elif self.source == "huggingface":
            check_repository(self.id)
            if self.version is not None:
                check_revision(self.version)
            if self.path is not None:
                check_file_path(self.path, HUGGING_FACE_NAME)
        elif self.source == "sha256":
            check_digest(self.id)
        elif self.source == "local":
            check_file_path(self.id, LOCAL_NAME)
        else:
            check_source(self.source)
            check_hosted_part("ID", self.id)
            if self.version is None:
                raise invalid("The version is missing", 'Write it like "runware:100@1".', "missingVersion")
            check_hosted_part("version", self.version)
        self._check_unused_parts()

    def _check_unused_parts(self) -> None:
        if self.file_id is not None:
            check_number("file ID", str(self.file_id))
        if self.choice is not None:
            check_choice(self.choice)
        named_by_file = self.source in ("sha256", "local")
        if (
            (named_by_file and self.version is not None)
            or (self.file_id is not None and (named_by_file or self.source == "huggingface"))
            or (self.choice is not None and (self.source != "civitai" or self.file_id is not None))
            or (self.path is not None and (self.source != "huggingface" or self.version is None))
        ):
            raise invalid(f"This combination of parts isn't valid for a {self.source} identifier", SPELLINGS)

    def __str__(self) -> str:
        text = f"{self.source}:{self.id}"
        if self.version is not None:
            text += f"@{revision_text(self.version) if self.source == 'huggingface' else self.version}"
        if self.file_id is not None:
            text += f"+{self.file_id}"
        if self.choice is not None:
            text += f"?{self.choice}"
        return text if self.path is None else f"{text}/{self.path}"

    @property
    def hosted_only(self) -> bool:
        """Whether its weights are only on the source's own servers, judging by the name."""
        return self.source not in DOWNLOADABLE_SOURCES


def parse_identifier(text: str) -> Identifier:
    """The identifier in `text`, in any of the forms in this module's docstring.

    A CivitAI version may be missing or `latest`, and a Hugging Face revision or path may be missing. If such a name
    isn't precise enough, the resolver reports it, because it can list the choices.

    >>> str(parse_identifier("urn:air:sdxl:lora:CivitAI:120096@135931.safetensors"))
    'civitai:120096@135931'

    Raises InvalidIdentifier. The message never shows a token or password in an address.
    """
    if not isinstance(text, str):
        raise InvalidIdentifier(
            f"{quoted(str(text))} isn't text",
            code="invalidIdentifier",
            remedy='Write a name such as "civitai:120096@135931".',
        )
    if len(text) > MAX_CHARACTERS:
        raise InvalidIdentifier(
            f"{quoted(text)} is too long ({len(text):,} characters)",
            code="identifierTooLong",
            remedy=f"The limit is {MAX_CHARACTERS:,} characters.",
        )
    text = text.strip(_INVISIBLE_EDGES)
    try:
        return _parse(text)
    except InvalidIdentifier as error:
        remedy = error.remedy
        if error.code not in _SELF_EXPLANATORY:
            remedy = suggestion(text, _parse) or remedy
        message = f"{quoted(text)}: {error.message}" if text else error.message
        raise InvalidIdentifier(message, code=error.code, remedy=remedy) from None


def _parse(text: str) -> Identifier:
    if not text:
        raise invalid("The model name is empty", SPELLINGS, "emptyIdentifier")
    check_printable(text)
    if is_prompt_tag(text):
        raise invalid("This is a prompt tag from another program", SPELLINGS, "missingSource")
    if is_full_path(text) and not text.startswith("//"):
        check_file_path(text, LOCAL_NAME)
    text = short_form(text) or text
    if text.lower().startswith(
        ("local:", "sha256:")
    ):  # a file name may contain the separators of other identifiers
        source, _, body = text.partition(":")
        return _SOURCES[source.lower()](body)
    return _parse_air(text)


def _parse_air(text: str) -> Identifier:
    """`[urn:][air:][{ecosystem}:][{type}:]{source}:{id}…`"""
    text = _BLANKS_AT_SIGNS.sub(r"\1", text)
    text = re.sub(r"\A(?:urn:)?(?:air:)?", "", text, flags=re.IGNORECASE)
    head, at, tail = text.partition("@")
    if ":" not in head:
        check_format(split_format(text)[1])
        raise invalid("The source, such as civitai: or local:, is missing", SPELLINGS, "missingSource")
    *prefixes, source, model = head.lower().split(":")
    body = head[len(head) - len(model) :] + at + tail
    if len(prefixes) > 2 or not all(_HINT.fullmatch(prefix) for prefix in prefixes):
        raise invalid("This isn't a valid AIR", SPELLINGS)
    if source == "hf":
        source = "huggingface"
    ecosystem, resource_type = _hints(prefixes)
    identifier = _of_source(source, body)
    if kind := NOT_LORA_TYPES.get(resource_type or ""):
        raise invalid(
            f"This is {kind} (type {quoted(resource_type or '')}), not a LoRA",
            f"If it's a LoRA after all, write {quoted(str(identifier))}.",
            "typeNotLora",
        )
    return replace(identifier, ecosystem=ecosystem, resource_type=resource_type) if prefixes else identifier


def _hints(prefixes: list[str]) -> tuple[str | None, str | None]:
    """(ecosystem, type). CivitAI's parser takes a single prefix for the ecosystem, even `lora:`."""
    if len(prefixes) == 1 and (prefixes[0] in LORA_TYPES or prefixes[0] in NOT_LORA_TYPES):
        return None, prefixes[0]
    ecosystem, resource_type = (*prefixes, None, None)[:2]
    return ecosystem, resource_type


def _of_source(source: str, body: str) -> Identifier:
    if source in _SOURCES:
        return _SOURCES[source](body)
    meant = nearest(source, _SOURCES, cutoff=0.8)
    if meant and not source.startswith(meant):  # `civitai-r2` may be a real source, `civtai` is a misspelling
        raise invalid(
            f"Unknown source {quoted(source)}",
            f"Did you mean {quoted(f'{meant}:{body}')}?",
            "unknownSource",
        )
    return _hosted(source, body)


def _numbered_parts(body: str) -> tuple[str, str | None, int | None, str | None]:
    """(id, version, file id, format) of `{id}[@{version}][+{fileId}][.{format}]`."""
    body, file_format = split_format(body)
    check_format(file_format)
    body, plus, file_id = body.partition("+")
    if plus:
        check_number("file ID", _plain(file_id))
    model, at, version = body.partition("@")
    return model, version if at else None, int(file_id) if plus else None, file_format


def _plain(number: str) -> str:
    """The number without leading zeros, which have no meaning."""
    return number.lstrip("0") or number[:1]


def _civitai(body: str) -> Identifier:
    body, _, query = body.partition("?")
    model, version, file_id, file_format = _numbered_parts(body)
    if " " in query:
        raise invalid("There's a space after the ?", 'Write it like "?fp=fp16&size=pruned".')
    asked_id, choice = file_choice(query)
    if file_id is not None and asked_id not in (None, file_id):
        raise invalid(f"This names two files, {file_id} and {asked_id}", "Keep only one of them.")
    if file_id is not None or asked_id is not None:
        file_id, choice = file_id or asked_id, None
    if version is not None:
        version = "latest" if version.lower() == "latest" else _plain(version)
    return Identifier("civitai", _plain(model), version, file_id, choice=choice, file_format=file_format)


def _hosted(source: str, body: str) -> Identifier:
    model, version, file_id, file_format = _numbered_parts(body)
    check_source(source)
    if version is None:
        raise invalid(
            f"The version after {quoted(model)} is missing",
            'Write a hosted model as "runware:100@1", or a file on your disk as "local:name.safetensors".',
            "missingVersion",
        )
    return Identifier(source, model, version, file_id, file_format=file_format)


def _hugging_face(body: str) -> Identifier:
    repository, at, behind = body.partition("@")
    if not at:
        if file := re.fullmatch(r"([^/]+/[^/]+)/(.+)", repository):
            meant = quoted(f"huggingface:{file[1]}@main/{file[2]}")
            raise invalid(
                "The @ and the revision before the file are missing", f"Write {meant}.", "missingVersion"
            )
        return Identifier("huggingface", repository)
    revision, path = split_revision(behind)
    if path is not None:
        return Identifier("huggingface", repository, revision, path=path)
    revision, file_format = split_format(revision)
    check_format(file_format)
    # CivitAI's URNs end in a format (`@main.safetensors`). After other revisions, the text was meant as a file.
    if file_format and not re.fullmatch(r"main|[0-9a-f]{40}", revision):
        meant = quoted(f"huggingface:{repository}@main/{behind}")
        raise invalid(
            f"Expected a revision after @, but {quoted(behind)} looks like a file",
            f"Write {meant}.",
            "missingVersion",
        )
    return Identifier("huggingface", repository, revision, file_format=file_format)


def _sha256(body: str) -> Identifier:
    return Identifier("sha256", body.strip().lower())


def _local(body: str) -> Identifier:
    return Identifier("local", body.replace("\\", "/"))


_SOURCES = {"civitai": _civitai, "huggingface": _hugging_face, "sha256": _sha256, "local": _local}
