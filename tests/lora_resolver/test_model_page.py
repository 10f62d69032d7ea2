"""The text of a model's page, and which of its versions are newer."""

from __future__ import annotations

import time

import pytest

from lora_resolver import LoraRecord, ModelPage, VersionPage
from lora_resolver.sources.model_page import text_of_html


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<p>One</p><p>two<br>three</p>", "One\n\ntwo\nthree"),
        ("<ul><li>a</li><li>b &amp; c</li></ul>", "- a\n\n- b & c"),
        ("a<script>bad('<b>')</script>b", "ab"),
        ("a<iframe src=x>b", "ab"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<![foo[ bar", "<![foo[ bar"),
        ("&#" + "9" * 5000 + ";", "&#" + "9" * 5000 + ";"),
        ("&#128512; &#xD800;", "\U0001f600 \ufffd"),
        (None, ""),
        (7, ""),
        ("", ""),
    ],
)
def test_html_becomes_text(content: object, text: str) -> None:
    assert text_of_html(content) == text


@pytest.mark.parametrize(
    "content", ["<a " * 70_000, "<!--" * 50_000, "&" * 200_000, "<script>" * 20_000, "<p>" * 60_000]
)
def test_what_was_made_to_keep_a_parser_busy_is_read_in_one_pass(content: str) -> None:
    began = time.process_time()
    text_of_html(content)
    assert time.process_time() - began < 5, "a parser of HTML takes from 15 s to minutes"


def version(
    number: int, published: str, name: str = "v", base_model: str = "SDXL 1.0", refused: bool = False
) -> VersionPage:
    record = LoraRecord(f"civitai:1@{number}", version_name=name, base_model=base_model)
    return VersionPage(record, published, refused=refused)


def newer(*versions: VersionPage) -> list[str]:
    return [each.record.identifier for each in ModelPage("m", versions=versions).newer_than("civitai:1@5")]


def test_newer_is_what_was_published_later_for_the_same_base_model() -> None:
    own = version(5, "2026-02-01")
    assert newer(version(9, "2023-01-01"), version(7, "2026-03-01"), own, version(8, "2026-05-01")) == [
        "civitai:1@8",
        "civitai:1@7",
    ]
    assert newer(version(7, "2026-03-01", base_model="Pony"), own) == []
    assert newer(version(7, "2026-03-01", refused=True), own) == []
    assert newer(version(7, ""), own) == []
    assert newer(version(7, "2026-03-01"), version(5, "")) == []
    assert newer(version(7, "2026-03-01")) == []


def test_high_and_low_are_no_news_of_one_another() -> None:
    own = version(5, "2026-02-01", "v1 High")
    assert newer(
        version(7, "2026-03-01", "v1_low_noise"), version(8, "2026-04-01", "v2 high noise"), own
    ) == ["civitai:1@8"]
