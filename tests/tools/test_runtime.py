"""The setup of the development runtime: killed midway, started twice at the same time, in folders with any name."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration

SET_UP = "from tools.runtime import ensure_tools_only; print(ensure_tools_only())"
MAKES_ANEW = "Making a virtual environment"


def wheel_of(name: str, version: str, folder: Path) -> Path:
    """A package with its version number."""
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    facts = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        for file, text in facts.items():
            archive.writestr(f"{name}-{version}.dist-info/{file}", text)
        listed = [f"{name}.py,,", *(f"{name}-{version}.dist-info/{file},," for file in (*facts, "RECORD"))]
        archive.writestr(f"{name}-{version}.dist-info/RECORD", "\n".join(listed))
    return wheel


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that needs one package, which is on disk."""
    checkout = tmp_path / "Käse & 漢字"
    checkout.mkdir()
    shutil.copytree(
        ROOT / "tools", checkout / "tools", ignore=shutil.ignore_patterns("showcase", "__pycache__")
    )
    wheel = wheel_of("needed", "1.0", checkout)
    (checkout / "requirements.txt").write_text(f"{wheel}\n", encoding="utf-8")
    (checkout / "requirements-dev.txt").write_text("", encoding="utf-8")
    return checkout


def set_up(checkout: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "utf8", "-c", SET_UP],
        cwd=checkout,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def said_by(process: subprocess.Popen[str]) -> list[str]:
    """Its output. It must have succeeded."""
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return said.splitlines()


def has_all(checkout: Path) -> bool:
    python = checkout / ".venv" / "bin" / "python"
    return subprocess.run([python, "-c", "import needed, pip"], check=False).returncode == 0


def test_what_was_killed_half_way_is_made_anew_and_only_once(checkout: Path) -> None:
    killed = set_up(checkout)
    while not (checkout / ".venv" / "bin" / "python").exists():
        assert killed.poll() is None
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    (checkout / ".runtime" / "pip" / "half a download").mkdir(parents=True)

    together = [set_up(checkout), set_up(checkout)]
    said = [said_by(process) for process in together]
    assert has_all(checkout)
    assert not (checkout / ".runtime" / "pip").exists()
    assert sum(line.startswith(MAKES_ANEW) for lines in said for line in lines) == 1
    assert [lines[-1] for lines in said] == 2 * [str(checkout / ".venv" / "bin" / "python")]
    assert said_by(set_up(checkout)) == [str(checkout / ".venv" / "bin" / "python")]


def test_demo_and_serve_need_nothing_that_only_tests_need() -> None:
    code = (
        "import sys, tools.contact_sheet, tools.demo, tools.serve, lora_resolver;"
        "from importlib.metadata import packages_distributions as known;"
        "print(*{each for name in {module.split('.')[0] for module in sys.modules} for each in known().get(name, ())})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    wanted = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    only_for_tests = set(re.findall(r"^[a-z0-9-]+", wanted, re.MULTILINE)) - {"filelock", "requests"}
    loaded = {name.lower() for name in done.stdout.split()}
    assert "pillow" in loaded
    assert loaded & only_for_tests == set()


def test_clean_removes_all_that_the_commands_made(checkout: Path) -> None:
    before = set(checkout.rglob("*"))
    for made in (
        ".venv/bin",
        ".runtime/pip",
        "demo_output",
        ".pytest_cache/v",
        ".hypothesis",
        "tools/__pycache__",
    ):
        (checkout / made).mkdir(parents=True)
        (checkout / made / "file").touch()
    command = [sys.executable, str(checkout / "tools" / "dev.py"), "clean"]
    subprocess.run(command, env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""}, check=True)
    assert set(checkout.rglob("*")) == before


def test_an_environment_that_pip_was_writing_into_is_not_believed(checkout: Path) -> None:
    said_by(set_up(checkout))
    (installed,) = checkout.glob(".venv/lib/*/site-packages/needed.py")
    installed.unlink()
    (checkout / ".runtime" / "stamps" / "unfinished").touch()
    assert said_by(set_up(checkout))[0].startswith(MAKES_ANEW)
    assert has_all(checkout)
    assert not (checkout / ".runtime" / "stamps" / "unfinished").exists()


def test_tests_with_another_comfyui_see_its_packages_and_change_none(checkout: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "their venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", theirs], check=True)
    python = theirs / "bin" / "python"
    (packages,) = theirs.glob("lib/*/site-packages")
    for name in ("only_theirs", "needed"):
        with zipfile.ZipFile(wheel_of(name, "0.5", tmp_path)) as wheel:
            wheel.extractall(packages)
    before = {path: path.stat().st_mtime_ns for path in theirs.rglob("*") if "__pycache__" not in path.parts}

    script = (
        "from pathlib import Path; from tools.runtime import *; "
        f"print(ensure_tests_beside(Comfyui(Path('comfyui'), Path({str(python)!r}), own=False)))"
    )
    beside = [
        subprocess.run(
            [sys.executable, "-c", script], cwd=checkout, check=True, capture_output=True, text=True
        ).stdout.splitlines()
        for _ in range(2)
    ]
    assert beside[1] == beside[0][-1:], "the second time nothing is installed"
    seen = "import only_theirs, needed; print(only_theirs.version, needed.version)"
    told = subprocess.run([beside[1][0], "-c", seen], check=True, capture_output=True, text=True).stdout
    assert told.split() == ["0.5", "1.0"], "what the tests need goes before what is there in another version"
    after = {path: path.stat().st_mtime_ns for path in theirs.rglob("*") if "__pycache__" not in path.parts}
    assert after == before
