"""Every text for users exists in every language, with the same placeholders."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LANGUAGES = ("zh", "ja", "de")


def texts(language: str, name: str) -> dict[str, str]:
    """Every text of one file by its position in it."""
    path = ROOT / "locales" / language / f"{name}.json"
    return dict(_flat(json.loads(path.read_text(encoding="utf-8")), ()))


def _flat(value: dict[str, Any] | str, place: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield " / ".join(place), value
        return
    for key, each in value.items():
        yield from _flat(each, (*place, key))


def widget_texts() -> dict[str, str]:
    """The widget's English sentences, from `web/strings.js`."""
    source = (ROOT / "web" / "strings.js").read_text(encoding="utf-8")
    block = source[source.index("Object.freeze({") : source.index("\n});")]
    found = re.findall(r'^  (\w+):\s+("(?:[^"\\]|\\.)*"),$', block, re.MULTILINE)
    assert len(found) == len(re.findall(r"^  \w", block, re.MULTILINE)), (
        "a line of strings.js was not understood"
    )
    return {f"airLora / {key}": json.loads(text) for key, text in found}


def settings_texts() -> dict[str, str]:
    """The English names and hints of the settings, from `web/settings.js`.

    They aren't in `locales/en`, because ComfyUI 0.3.75's page would show those instead of every other language.
    """
    source = (ROOT / "web" / "settings.js").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for block in re.split(r'^    (?=\[\s*"\w+",\s*"AirLora)', source, flags=re.MULTILINE)[1:]:
        _, key, name, tooltip = map(json.loads, re.findall(r'"[^"]*"', block)[:4])
        place = key.replace(".", "_")
        found |= {f"{place} / name": name, f"{place} / tooltip": tooltip}
        found |= {f"{place} / options / {text}": text for text in re.findall(r'\{ text: "([^"]*)"', block)}
    return found


def english(name: str) -> dict[str, str]:
    if name == "settings":
        return settings_texts()
    return {**texts("en", name), **(widget_texts() if name == "main" else {})}


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"\{\w+\}", text))


def test_each_language_has_the_same_files() -> None:
    folders = sorted(path.name for path in (ROOT / "locales").iterdir())
    assert folders == sorted(("en", *LANGUAGES))
    files = {name: sorted(path.name for path in (ROOT / "locales" / name).iterdir()) for name in folders}
    assert files.pop("en") == ["main.json", "nodeDefs.json"]
    assert all(each == ["main.json", "nodeDefs.json", "settings.json"] for each in files.values()), files


@pytest.mark.parametrize("name", ["main", "nodeDefs", "settings"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_key_is_missing_and_none_left_over(language: str, name: str) -> None:
    assert list(texts(language, name)) == list(english(name))


@pytest.mark.parametrize("name", ["main", "nodeDefs", "settings"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty_or_lacks_a_value(language: str, name: str) -> None:
    wrong = {
        key: text
        for key, text in texts(language, name).items()
        if not text.strip() or placeholders(text) != placeholders(english(name)[key])
    }
    assert wrong == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_sentence_was_left_in_english(language: str) -> None:
    """If a text of more than two words equals the English one, its translation is missing."""
    same = {
        key
        for name in ("main", "nodeDefs", "settings")
        for key, text in texts(language, name).items()
        if text == english(name)[key] and len(re.findall(r"[A-Za-z]{2,}", re.sub(r"\{\w+\}", "", text))) > 2
    }
    assert same == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_node_has_a_name_of_its_own_in_each_language(language: str) -> None:
    names = [text for key, text in texts(language, "nodeDefs").items() if key.endswith("/ display_name")]
    assert len(set(names)) == len(names)


def test_every_sentence_is_used() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "web").rglob("*.js"))
        if path.name != "strings.js"
    )
    unused = [
        key
        for key in (place.removeprefix("airLora / ") for place in widget_texts())
        if not re.search(rf'"{key}"', sources)
    ]
    assert unused == []


# As the front end requests them: <node>/<language>.md.
PAGES = sorted((ROOT / "web" / "docs").glob("*/*.md"))


def test_every_help_page_is_there_in_every_language() -> None:
    nodes = sorted(path.stem for path in (ROOT / "web" / "docs").glob("*.md"))
    assert [(page.parent.name, page.stem) for page in PAGES] == [
        (node, language) for node in nodes for language in sorted(LANGUAGES)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_translated_help_page_says_the_same(page: Path) -> None:
    """The title is the node's name in that language. Inputs, outputs, keys, and examples equal the English ones."""
    assert page.stem in LANGUAGES
    text = page.read_text(encoding="utf-8")
    source = page.parent.with_suffix(".md").read_text(encoding="utf-8")
    assert text.startswith(f"# {texts(page.stem, 'nodeDefs')[f'{page.parent.name} / display_name']}\n")
    for pattern in (r"(?s)```.*?```", r"(?<!`)`[^`\n]+`(?!`)"):
        assert set(re.findall(pattern, text)) == set(re.findall(pattern, source))


@pytest.mark.parametrize("language", ["en", *LANGUAGES])
def test_the_help_of_the_rows_calls_things_as_the_rows_do(language: str) -> None:
    docs = ROOT / "web" / "docs"
    page = docs / "AirLoraApply.md" if language == "en" else docs / "AirLoraApply" / f"{language}.md"
    said = {**widget_texts(), **(texts(language, "main") if language != "en" else {})}
    text = page.read_text(encoding="utf-8")
    for name in ("addLora", "presets"):
        assert f"**{said[f'airLora / {name}']}**" in text


def test_remedies_name_settings_as_the_page_does() -> None:
    from lora_resolver import text

    shown = set(settings_texts().values())
    for key, name in text.SETTINGS_ON_THE_PAGE.items():
        assert name in shown, key
