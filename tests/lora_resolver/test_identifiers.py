"""Identifiers: every spelling, every trap of the lenient grammars, and the errors for texts that aren't identifiers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_resolver.errors import InvalidIdentifier
from lora_resolver.identifiers import Identifier, parse_identifier

TABLE = json.loads((Path(__file__).parents[1] / "data" / "identifiers.json").read_text(encoding="utf-8"))
DIGEST = "ab" * 32


@pytest.mark.parametrize(("text", "canonical"), TABLE["valid"])
def test_spelling_has_one_canonical_text_that_parses_back(text: str, canonical: str) -> None:
    identifier = parse_identifier(text)
    assert str(identifier) == canonical
    assert parse_identifier(canonical) == identifier
    assert parse_identifier(f" \ufeff{text}\n") == identifier


@pytest.mark.parametrize(("text", "code", "part"), TABLE["invalid"])
def test_text_that_names_no_model_says_why_and_what_to_write(text: str, code: str, part: str) -> None:
    with pytest.raises(InvalidIdentifier, match=re.escape(part)) as raised:
        parse_identifier(text)
    assert raised.value.code == code
    assert raised.value.remedy
    assert "\n" not in str(raised.value)


# --- the traps of services.md 1.1 to 1.4 ---


def test_version_does_not_swallow_the_file_format() -> None:
    identifier = parse_identifier("urn:air:sdxl:lora:civitai:1@2.safetensors")
    assert (identifier.version, identifier.file_format) == ("2", "safetensors")


def test_file_id_is_no_part_of_the_version() -> None:
    identifier = parse_identifier("urn:air:sdxl:lora:civitai:1@2+33.safetensors")
    assert (identifier.version, identifier.file_id) == ("2", 33)
    assert identifier != parse_identifier("civitai:1@2")


def test_single_prefix_lora_is_a_type_and_no_ecosystem() -> None:
    identifier = parse_identifier("lora:civitai:1@2")
    assert (identifier.ecosystem, identifier.resource_type) == (None, "lora")


def test_single_prefix_sdxl_is_an_ecosystem() -> None:
    identifier = parse_identifier("sdxl:civitai:1@2")
    assert (identifier.ecosystem, identifier.resource_type) == ("sdxl", None)


def test_source_in_capitals_is_the_same_source() -> None:
    assert parse_identifier("CIVITAI:1@2") == parse_identifier("civitai:1@2")


def test_ids_with_slashes_keep_their_case() -> None:
    identifier = parse_identifier(
        "urn:air:flux1:lora:HuggingFace:AlvDansen/Flux-Koda@main/Sub/Koda.safetensors"
    )
    assert identifier.source == "huggingface"
    assert (identifier.id, identifier.version, identifier.path) == (
        "AlvDansen/Flux-Koda",
        "main",
        "Sub/Koda.safetensors",
    )


def test_foo_bar_is_no_identifier() -> None:
    with pytest.raises(InvalidIdentifier, match='version after "bar"'):
        parse_identifier("foo:bar")


def test_short_form_without_source_suggests_civitai() -> None:
    with pytest.raises(InvalidIdentifier) as raised:
        parse_identifier("120096@135931")
    assert raised.value.remedy == 'Did you mean "civitai:120096@135931"?'


def test_digits_of_other_scripts_are_no_ids() -> None:
    with pytest.raises(InvalidIdentifier, match="a whole number"):
        parse_identifier("civitai:١٢٣@٤")


def test_type_that_is_no_lora_is_refused_by_name() -> None:
    with pytest.raises(InvalidIdentifier, match="a checkpoint") as raised:
        parse_identifier("urn:air:sdxl:checkpoint:civitai:101055@128078")
    assert raised.value.code == "typeNotLora"


def test_urn_hints_are_kept_beside_the_identity() -> None:
    identifier = parse_identifier("urn:air:SDXL:LyCORIS:civitai:1@2.safetensors")
    assert (identifier.ecosystem, identifier.resource_type, identifier.file_format) == (
        "sdxl",
        "lycoris",
        "safetensors",
    )
    assert identifier == parse_identifier("civitai:1@2")
    assert hash(identifier) == hash(parse_identifier("civitai:1@2"))


def test_numeric_and_slug_names_of_hosted_models() -> None:
    for text in (
        "runware:100@1",
        "runware:flux-1-dev@style-lora-training",
        "alibaba:wan@2.7-image",
        "my-co:123@2",
    ):
        identifier = parse_identifier(text)
        assert identifier.hosted_only
        assert str(identifier) == text
    assert not parse_identifier("civitai:1@2").hosted_only


def test_download_address_gives_the_version_without_a_model() -> None:
    identifier = parse_identifier("https://civitai.com/api/download/models/135931")
    assert (identifier.id, identifier.version) == ("", "135931")


# --- secrets ---


@pytest.mark.parametrize(
    "text",
    [
        "https://civitai.com/api/download/models/135931?token=S3CR3T",
        "https://civitai.com/models/120096?modelVersionId=135931&token=S3CR3T",
        "https://civitai.com/models/120096?modelVersionId=x&token=S3CR3T",
        "https://civitai.com/images/1?token=S3CR3T",
        "https://civitai.com/images/1?a=b#token=S3CR3T",
        "https://user:S3CR3T@civitai.com/models/120096",
        "https://user:S3CR3T@example.com/x.safetensors",
        "https://example.com/x.safetensors?X-Amz-Signature=S3CR3T",
        "https://huggingface.co/org/repo/resolve/main/x.safetensors?token=S3CR3T",
        "https://huggingface.co/org/repo/resolve/main/x.bin?token=S3CR3T",
        "https%3A%2F%2Fcivitai.com%2Fimages%2F1%3Ftoken%3DS3CR3T",
        "civitai:1@2?token=S3CR3T",
        "civitai:1@2&api_key=S3CR3T",
        "huggingface:org/repo@main?token=S3CR3T",
        "local:x?token=S3CR3T",
        "foo:bar?token=S3CR3T",
        "Authorization: Bearer S3CR3T",
        "hf_S3CR3TS3CR3TS3CR3T",
    ],
)
def test_secret_never_comes_back(text: str) -> None:
    try:
        shown = repr(parse_identifier(text))
    except InvalidIdentifier as error:
        hidden = error.__context__ and error.__suppress_context__
        shown = f"{error} {error!r} {error.as_dict()} {error.__cause__} {hidden}"
    assert "S3CR3T" not in shown


# --- limits ---


def test_text_is_capped_before_anything_else() -> None:
    with pytest.raises(InvalidIdentifier) as raised:
        parse_identifier("\x00" * 1_000_000)
    assert raised.value.code == "identifierTooLong"
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("value", [None, 135931, b"civitai:1@2", ["civitai:1@2"]])
def test_only_text_is_an_identifier(value: object) -> None:
    with pytest.raises(InvalidIdentifier, match="isn't text"):
        parse_identifier(value)  # type: ignore[arg-type]  # as untyped callers do


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "civitai", "id": "007", "version": "1"},
        {"source": "civitai", "id": ""},
        {"source": "civitai", "id": "1", "version": "2", "path": "x.safetensors"},
        {"source": "civitai", "id": "1", "version": "2", "file_id": 0},
        {"source": "CIVITAI", "id": "1", "version": "2"},
        {"source": "huggingface", "id": "org/repo", "path": "x.safetensors"},
        {"source": "huggingface", "id": "org/repo", "version": "main", "path": "../x.safetensors"},
        {"source": "huggingface", "id": "org/repo", "version": "main", "file_id": 1},
        {"source": "huggingface", "id": "org/repo", "version": "refs", "path": "pr/1/x.safetensors"},
        {"source": "sha256", "id": DIGEST.upper()},
        {"source": "sha256", "id": DIGEST, "version": "1"},
        {"source": "local", "id": "a\\x.safetensors"},
        {"source": "local", "id": "x.safetensors", "version": "1"},
        {"source": "runware", "id": "100"},
        {"source": "runware", "id": "100", "version": "1.safetensors"},
        {"source": "lora", "id": "100", "version": "1"},
    ],
)
def test_hand_built_value_is_as_strict_as_a_parsed_one(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidIdentifier):
        Identifier(**fields)  # type: ignore[arg-type]  # wrong on purpose


# --- properties ---

NUMBERS = st.integers(1, 10**18 - 1).map(str)
WORDS = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,20}", fullmatch=True)
FILE_NAMES = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4).map(
    lambda parts: "/".join(parts) + ".safetensors"
)


def built(**fields: st.SearchStrategy[object]) -> st.SearchStrategy[Identifier | None]:
    """Identifiers with such fields. None for those that the rules reject."""

    def build(values: dict[str, object]) -> Identifier | None:
        try:
            return Identifier(**values)  # type: ignore[arg-type]  # the strategies provide the types
        except InvalidIdentifier:
            return None

    return st.fixed_dictionaries(fields).map(build)


IDENTIFIERS = st.one_of(
    built(
        source=st.just("civitai"),
        id=NUMBERS,
        version=st.one_of(st.none(), st.just("latest"), NUMBERS),
        file_id=st.one_of(st.none(), st.integers(1, 10**18 - 1)),
    ),
    built(source=st.just("civitai"), id=st.just(""), version=NUMBERS),
    built(
        source=st.just("huggingface"),
        id=st.tuples(WORDS, WORDS).map("/".join),
        version=st.one_of(
            WORDS, st.lists(WORDS, min_size=2, max_size=3).map("/".join), st.just("refs/pr/12")
        ),
        path=st.one_of(st.none(), FILE_NAMES),
    ),
    built(source=st.just("sha256"), id=st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
    built(source=st.just("local"), id=FILE_NAMES),
    built(
        source=st.from_regex(r"[a-z0-9][a-z0-9_-]{1,10}", fullmatch=True),
        id=st.lists(WORDS, min_size=1, max_size=3).map("/".join),
        version=WORDS,
        file_id=st.one_of(st.none(), st.integers(1, 999)),
    ),
)


@given(IDENTIFIERS)
def test_canonical_text_parses_back_to_the_same_value(identifier: Identifier | None) -> None:
    if identifier is not None:
        again = parse_identifier(str(identifier))
        assert again == identifier
        assert str(again) == str(identifier)


FRAGMENTS = st.sampled_from(
    [
        *"urn: air: lora: sdxl: civitai: huggingface: hf: hf:// sha256: local: runware:".split(),
        *"@ + : / // ? # % & = .. .".split(),
        *"\\ ~ C: < > <lora: 1 2 120096 @135931 latest main refs/pr/1 org/repo .safetensors .ckpt x y %2F %00".split(),
        *"https:// civitai.com /models/ /api/download/models/ ?modelVersionId= huggingface.co /resolve/ /blob/".split(),
        *("[", "]", " ", "\n", "\x00", "\ud800", "é", "１", DIGEST),
    ]
)


@given(st.one_of(st.text(), st.lists(FRAGMENTS, max_size=9).map("".join)))
def test_no_text_raises_anything_but_invalid_identifier(text: str) -> None:
    try:
        identifier = parse_identifier(text)
    except InvalidIdentifier as error:
        assert error.code
        assert error.message
        assert error.remedy
        assert str(error).isprintable()
    else:
        assert parse_identifier(str(identifier)) == identifier


@pytest.mark.parametrize(
    "text", ["runware:a..b@1", "runware:a b@1", f"runware:{'a' * 257}@1", "runware:a@v/../w"]
)
def test_names_of_hosted_models_are_plain(text: str) -> None:
    with pytest.raises(InvalidIdentifier):
        parse_identifier(text)
