"""Names of LoRAs: every spelling, every trap, and what is said of a text that names none.

`tests/data/identifiers.json` holds the cases that need no explanation; the front end's tests can share it.
"""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lora_resolver import Identifier, InvalidIdentifier, parse_identifier
from tests.conftest import ROOT

CASES = json.loads((ROOT / "tests/data/identifiers.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES["valid"], ids=lambda case: case["text"][:60])
def test_a_spelling_gives_its_canonical_text(case: dict[str, str]) -> None:
    identifier = parse_identifier(case["text"])
    assert str(identifier) == case["canonical"]
    assert parse_identifier(case["canonical"]) == identifier


@pytest.mark.parametrize("case", CASES["invalid"], ids=lambda case: case["text"][:60])
def test_a_text_that_names_no_model_gives_an_error_that_helps(case: dict[str, str]) -> None:
    with pytest.raises(InvalidIdentifier) as caught:
        parse_identifier(case["text"])
    assert caught.value.code == case["code"]
    assert str(caught.value) == case["message"]


# The traps of services.md, sections 1.1 to 1.4: what lenient parsers make of these is wrong.


def test_trap_a_version_does_not_swallow_the_format() -> None:
    identifier = parse_identifier("urn:air:sdxl:lora:civitai:1@2.safetensors")
    assert (identifier.version, identifier.file_format) == ("2", "safetensors")


def test_trap_the_format_after_a_file_id() -> None:
    identifier = parse_identifier("urn:air:sdxl:lora:civitai:1@2+33.safetensors")
    assert (identifier.version, identifier.file_id, identifier.file_format) == ("2", 33, "safetensors")


def test_trap_a_lone_lora_prefix_is_a_type_and_no_ecosystem() -> None:
    identifier = parse_identifier("lora:civitai:1@2")
    assert (identifier.ecosystem, identifier.resource_type) == (None, "lora")
    assert parse_identifier("sdxl:civitai:1@2").ecosystem == "sdxl"


def test_trap_sources_in_capitals_are_the_same_source() -> None:
    assert parse_identifier("CivitAI:1@2") == parse_identifier("civitai:1@2")


def test_trap_ids_with_slashes_are_hugging_face_s_alone() -> None:
    assert parse_identifier("huggingface:Org/Repo@main/x.safetensors").id == "Org/Repo"
    with pytest.raises(InvalidIdentifier):
        parse_identifier("civitai:1/2@3")


def test_trap_the_case_of_a_hugging_face_name_stays() -> None:
    assert parse_identifier("huggingface:Org/Repo@Main/X.safetensors") != parse_identifier(
        "huggingface:org/repo@main/x.safetensors"
    )


def test_trap_a_file_id_is_part_of_the_identity() -> None:
    assert parse_identifier("civitai:1@2+3") != parse_identifier("civitai:1@2")


def test_trap_any_two_words_with_a_colon_are_no_identifier() -> None:
    with pytest.raises(InvalidIdentifier) as caught:
        parse_identifier("foo:bar")
    assert caught.value.code == "missingVersion"


def test_trap_digests_inside_a_version_are_refused() -> None:
    with pytest.raises(InvalidIdentifier):
        parse_identifier("urn:air:oci:image:ghcr:civitai/t@sha256:abc")


def test_what_a_urn_says_besides_is_no_part_of_the_identity() -> None:
    assert parse_identifier("urn:air:sd1:lycoris:civitai:1@2") == parse_identifier(
        "urn:air:sdxl:lora:civitai:1@2"
    )


@pytest.mark.parametrize(
    "text",
    [
        "https://civitai.com/api/download/models/1?token=SECRET-0123",
        "https://civitai.com/images/5?token=SECRET-0123",
        "https://me:SECRET-0123@example.com/x",
        "https://civitai.com/models/x?token=SECRET-0123",
    ],
)
def test_a_secret_in_an_address_is_never_shown(text: str) -> None:
    try:
        shown = str(parse_identifier(text))
    except InvalidIdentifier as error:
        shown = f"{error} {error.message} {error.remedy} {error!r}"
    assert "SECRET" not in shown


@pytest.mark.parametrize(
    "parts",
    [
        {"source": "civitai", "id": ""},
        {"source": "civitai", "id": "1", "version": "x"},
        {"source": "local", "id": "../x.safetensors"},
        {"source": "local", "id": "x.safetensors", "version": "1"},
        {"source": "sha256", "id": "abc"},
        {"source": "huggingface", "id": "org/repo", "path": "x.safetensors"},
        {"source": "Up Per", "id": "1", "version": "1"},
    ],
)
def test_a_value_built_by_hand_is_as_sound_as_a_parsed_one(parts: dict[str, str]) -> None:
    with pytest.raises(InvalidIdentifier):
        Identifier(**parts)


NUMBERS = st.integers(1, 10**12).map(str)
WORDS = st.from_regex(r"\A[a-z][a-z0-9]{1,8}\Z")
SEGMENTS = st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9_ -]{0,10}[A-Za-z0-9]\Z")
PATHS = st.lists(SEGMENTS, min_size=1, max_size=3).map(lambda parts: "/".join(parts) + ".safetensors")
IDENTIFIERS = st.one_of(
    st.builds(Identifier, st.just("civitai"), NUMBERS, st.none() | NUMBERS | st.just("latest")),
    st.builds(Identifier, st.just("civitai"), NUMBERS, NUMBERS, st.integers(1, 10**9)),
    st.builds(Identifier, st.just("civitai"), st.just(""), NUMBERS),
    st.builds(
        lambda org, repo, revision, path: Identifier("huggingface", f"{org}/{repo}", revision, path=path),
        WORDS,
        WORDS,
        st.just("main") | WORDS,
        PATHS.map(lambda path: path.replace(" ", "")),
    ),
    st.builds(lambda digits: Identifier("sha256", digits), st.from_regex(r"\A[0-9a-f]{64}\Z")),
    st.builds(lambda path: Identifier("local", path), PATHS),
    st.builds(Identifier, st.sampled_from(["runware", "bfl", "alibaba"]), NUMBERS | WORDS, NUMBERS | WORDS),
)


@given(IDENTIFIERS)
def test_canonical_text_parses_back_to_the_same_value(identifier: Identifier) -> None:
    assert parse_identifier(str(identifier)) == identifier
    assert str(parse_identifier(str(identifier))) == str(identifier)


@given(st.text(max_size=80) | st.text(alphabet="civtahugnfe:@+/.0123456789-_% \\?=&", max_size=60))
@example("civitai:1@2%00")
@example("https://civitai.com:99999/models/1")
@example("https://[::1/models")
@example("local:\ud800.safetensors")
def test_no_text_makes_it_raise_anything_but_its_own_error(text: str) -> None:
    try:
        identifier = parse_identifier(text)
    except InvalidIdentifier as error:
        assert error.code
        assert error.message
    else:
        assert parse_identifier(str(identifier)) == identifier
