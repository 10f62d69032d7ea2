"""Rules for the repository: packaging, commands, sizes."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from lora_resolver.text import version
from tests.conftest import ROOT
from tools.dev import COMMANDS
from tools.release import faults_of

if TYPE_CHECKING:
    from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_manager_installs_what_the_package_index_would() -> None:
    """ComfyUI-Manager reads only requirements.txt, and pip reads only pyproject.toml."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    assert lines == PROJECT["project"]["dependencies"]


def test_the_registry_knows_the_pack() -> None:
    assert PROJECT["project"]["name"] == "air-lora"
    assert re.fullmatch(r"\d+\.\d+\.\d+", PROJECT["project"]["version"])
    assert PROJECT["tool"]["comfy"]["DisplayName"] == "AIR LoRA"
    assert PROJECT["tool"]["comfy"]["requires-comfyui"] == ">=0.3.75"


@pytest.mark.parametrize(
    ("key", "file", "size"), [("Icon", "icon.svg", (400, 400)), ("Banner", "banner.svg", (1680, 720))]
)
def test_the_registry_shows_our_pictures(key: str, file: str, size: tuple[int, int]) -> None:
    """A square of at most 400, and 21:9. They are at their addresses, and don't load anything from elsewhere."""
    repository = PROJECT["project"]["urls"]["Repository"].removeprefix("https://github.com/")
    assert PROJECT["tool"]["comfy"][key] == f"https://raw.githubusercontent.com/{repository}/main/{file}"
    picture = (ROOT / file).read_text(encoding="utf-8")
    assert f'viewBox="0 0 {size[0]} {size[1]}" width="{size[0]}" height="{size[1]}"' in picture
    assert not re.search(r"<text|<image|<script|href=|url\((?!#)", picture)


def test_every_make_target_is_a_command_of_dev_py() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    assert targets
    assert sorted(targets[1].split()) == sorted(COMMANDS)


def test_ci_runs_the_readme_s_test_command() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "    make test\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip(
            "this is no git checkout, so there is no list of the files that are part of the repository"
        )
    return [ROOT / name for name in listed.stdout.split("\0") if name]


def test_no_large_file_but_the_showcase_checkpoint() -> None:
    large = [file.relative_to(ROOT).as_posix() for file in tracked_files() if file.stat().st_size > 1_000_000]
    assert large == ["tools/showcase/tiny-showcase-all.ckpt"]


def test_each_example_has_a_picture_for_the_template_browser() -> None:
    examples = ROOT / "example_workflows"
    pictures = sorted(examples.glob("*.jpg"))
    assert [file.stem for file in pictures] == sorted(file.stem for file in examples.glob("*.json"))
    for file in pictures:
        with Image.open(file) as picture:
            assert picture.size == (640, 400), file.name
        assert file.stat().st_size < 100_000, file.name


def test_the_readme_has_what_a_user_looks_for() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.+)$", readme, re.MULTILINE)
    for section in (
        *("Install", "Your first array", "Tokens", "A LoRA of another architecture", "Offline"),
        *("Try it without installing", "Compared with other loaders", "Several machines", "How fast"),
    ):
        assert section in sections


def test_what_users_do_not_need_is_left_out_of_the_registry_package() -> None:
    left_out = (ROOT / ".comfyignore").read_text(encoding="utf-8").split()
    assert {"/tools/", "/tests/", "/benchmarks/"} <= set(left_out)
    for needed in ("nodes", "lora_resolver", "web", "locales", "example_workflows", "requirements.txt"):
        assert f"/{needed}/" not in left_out
        assert f"/{needed}" not in left_out


def test_actions_are_pinned_by_hash() -> None:
    """An action's tag can be moved to other code, which could then read the registry's token."""
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        uses = re.findall(r"uses: (\S+)", file.read_text(encoding="utf-8"))
        assert [each for each in uses if not re.search(r"@[0-9a-f]{40}$|^\./", each)] == [], file.name


def test_a_release_is_a_tag_whose_tests_have_passed() -> None:
    text = (ROOT / ".github" / "workflows" / "publish.yml").read_text(encoding="utf-8")
    assert "branches:" not in text
    assert 'tags: ["v*"]' in text
    assert "needs: tests" in text


def test_the_version_stands_in_one_place() -> None:
    """The user agent and the allowed tag are derived from pyproject.toml."""
    number = PROJECT["project"]["version"]
    assert version() == number
    assert faults_of(f"v{number}") == []


@pytest.mark.parametrize("tag", ["v0.0.9", PROJECT["project"]["version"], ""])
def test_a_tag_that_is_no_release_is_refused(tag: str) -> None:
    assert faults_of(tag)


def test_contributing_names_what_is_there() -> None:
    """Every path and every name of code in its recipes and its map exists."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(
        re.findall(r"`((?:lora_resolver|nodes|tests|tools|web|locales|example_workflows)/[\w./-]+)`", text)
    )
    assert [path for path in paths if "<" not in path and not (ROOT / path).exists()] == []
    source = "\n".join(
        file.read_text(encoding="utf-8")
        for part in ("lora_resolver", "nodes", "tests", "tools")
        for file in (ROOT / part).rglob("*.py")
    )
    names = set(re.findall(r"`([A-Z][A-Z_]{3,}|_[A-Z]+|@?[a-z]+(?:_[a-z]+)+)`", text)) - {"COMFYUI_PATH"}
    assert [name for name in names if not re.search(rf"\b{name.lstrip('@')}\b", source)] == []


def test_the_map_has_every_wing() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    chart = text[text.index("## The code map") :]
    for package in ("lora_resolver", "nodes"):
        wings = [
            path.name for path in (ROOT / package).iterdir() if path.is_dir() and path.name != "__pycache__"
        ]
        assert [name for name in wings if f"  {name}/ " not in chart] == [], package
