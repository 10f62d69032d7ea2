"""The README is correct: figures, links, commands, nodes, pictures, the array."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from lora_resolver import parse_lora_array
from tests.conftest import ROOT
from tools.dev import COMMANDS

if TYPE_CHECKING:
    from pathlib import Path

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])

FIGURES = {
    "SD 1.5, one LoRA": "patch SD1.5, N=1: files to patched weights",
    "SD 1.5, five": "patch SD1.5, N=5: files to patched weights",
    "SD 1.5, ten": "patch SD1.5, N=10: files to patched weights",
    "SD 1.5, five, one weight changed": "patch SD1.5, N=5: one weight changed",
    "SDXL, one": "patch SDXL, N=1: files to patched weights",
    "SDXL, five": "patch SDXL, N=5: files to patched weights",
    "a 171 MB file until it can be applied": "read a 171 MB LoRA, warm: usable factors",
    "the same from a cold disk, with every byte read": "read a 171 MB LoRA, cold: and every byte",
}
_ROW = r"^\| (.+?) \| ([\d.]+) s \| ([\d.]+) s \| ([\d.]+) \|$"
MEMORY = "patch SD1.5, N=5: peak extra memory"


def test_its_figures_are_those_of_the_benchmarks() -> None:
    measured = {row["name"]: row for row in json.loads((ROOT / "benchmarks" / "results.json").read_bytes())}
    table = re.findall(_ROW, README, re.MULTILINE)
    assert {label for label, *_ in table} == set(FIGURES)
    for label, *shown in table:
        row = measured[FIGURES[label]]
        for figure, value in zip(shown, (row["peer"], row["ours"], row["ratio"])):
            half_a_digit = 0.5001 * 10 ** -len(figure.partition(".")[2])
            assert abs(float(figure) - value) <= half_a_digit, f"{label}: benchmarks/results.json has {value}"
    ours, peer = measured[MEMORY]["ours"], measured[MEMORY]["peer"]
    speed = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert {f"{ours:.0f} MB", f"{peer:.0f} MB"} <= set(re.findall(r"\d+ MB", speed))
    assert set(re.findall(_ROW, speed, re.MULTILINE)) == set(re.findall(_ROW, README, re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_something(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r'\]\(([^)#\s]+)[^)]*\)|src="([^"]+)"', text)
    own = {link for pair in links for link in pair if link and "://" not in link}
    assert {link for link in own if not (page.parent / link).exists()} == set()


def test_it_leads_to_every_page() -> None:
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert {page for page in pages if f"]({page})" not in README} == set()


def test_every_picture_is_shown_and_small() -> None:
    pictures = {picture.name: picture.stat().st_size for picture in (ROOT / "docs" / "pictures").iterdir()}
    shown = {
        name
        for page in PAGES
        for name in re.findall(r"pictures/([\w-]+\.png)", page.read_text(encoding="utf-8"))
    }
    assert shown == set(pictures)
    assert [name for name, size in pictures.items() if size > 300_000] == []


def test_make_pictures_makes_every_picture() -> None:
    script = (ROOT / "tools" / "pictures.py").read_text(encoding="utf-8")
    made = set(re.findall(r'\bsave(?:_node)?\((?:page, )?"([\w-]+)"', script))
    assert made == {picture.stem for picture in (ROOT / "docs" / "pictures").iterdir()}


def test_its_commands_are_there() -> None:
    named = set(re.findall(r"(?:`make|^    make|dev\.py) ([a-z]+)", README, re.MULTILINE))
    assert {"demo", "test", "serve", "bench", "clean"} <= named <= set(COMMANDS)
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    exported = re.search(r"^export (.+)$", makefile, re.MULTILINE)
    assert exported
    variables = set(re.findall(r"\b([A-Z_]+)=", "".join(re.findall(r"`?make [^\n]+", README))))
    assert variables
    assert variables <= set(exported[1].split())


def test_its_array_is_the_one_that_the_help_and_the_pages_show() -> None:
    first = [
        re.findall(r"```json\n(\[.+?)```", page.read_text(encoding="utf-8"), re.DOTALL)[0]
        for page in (
            ROOT / "README.md",
            ROOT / "docs" / "array.md",
            ROOT / "web" / "docs" / "AirLoraApply.md",
        )
    ]
    assert len(set(first)) == 1
    assert [entry.weight for entry in parse_lora_array(first[0])] == [0.7, 0.5]


def test_every_array_that_a_page_shows_is_one() -> None:
    for page in (*(ROOT / "docs").glob("*.md"), *(ROOT / "web" / "docs").rglob("*.md")):
        for block in re.findall(r"```json\n(\[.+?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            assert parse_lora_array(block), page.name


def test_it_names_every_node_by_the_name_that_the_page_shows() -> None:
    titles = {
        page.name: page.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        for page in (ROOT / "web" / "docs").glob("*.md")
    }
    linked = {name: title for title, name in re.findall(r"\[([^\]]+)\]\(web/docs/(\w+\.md)\)", README)}
    assert linked == titles
