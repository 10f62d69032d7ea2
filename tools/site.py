"""`make docs`: builds the pages as a site with mkdocs-material, and checks every link.

The pages are in several folders of the repository. They are copied into one folder, and links to files that aren't
pages point to the repository. The site is in `.runtime/site`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.messages import page
from tools.runtime import RUNTIME, SetupError, say

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = "https://github.com/air-lora/air-lora/blob/main"
MKDOCS = ("mkdocs==1.6.1", "mkdocs-material==9.7.0")
SOURCES = {"README.md": "index.md", "CHANGELOG.md": "changelog.md", "SECURITY.md": "security.md"}
_LINK = re.compile(r'(\]\(|src=")([^)\s"#]+)(#[^)\s"]*)?')


def main() -> int:
    """Returns the exit status of mkdocs, or 1 if its packages can't be installed."""
    try:
        python = _environment()
    except SetupError as error:
        say(str(error))
        return 1
    build = RUNTIME / "site-source"
    shutil.rmtree(build, ignore_errors=True)
    collect(build / "docs")
    shutil.copy(ROOT / "mkdocs.yml", build)
    command = [
        str(python),
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(RUNTIME / "site"),
    ]
    status = subprocess.run(command, cwd=build, check=False).returncode
    if status == 0:
        say(f"The site is in {RUNTIME / 'site'}")
    return status


def collect(target: Path) -> None:
    """Copies every page to its path in the site, and adapts the links."""
    places = pages()
    for source, place in places.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        file = target / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_relinked(text, source, place, places), encoding="utf-8")
    shutil.copytree(ROOT / "docs" / "pictures", target / "pictures")
    (target / "messages.md").write_text(page(), encoding="utf-8")


def pages() -> dict[str, str]:
    """Path in the repository → path in the site."""
    return {
        **SOURCES,
        **{f"docs/{path.name}": path.name for path in sorted((ROOT / "docs").glob("*.md"))},
        **{
            f"web/docs/{path.name}": f"nodes/{path.name}"
            for path in sorted((ROOT / "web" / "docs").glob("*.md"))
        },
    }


def _relinked(text: str, source: str, place: str, places: dict[str, str]) -> str:
    here = Path(place).parent

    def leads(match: re.Match[str]) -> str:
        start, link, anchor = match[1], match[2], match[3] or ""
        if "://" in link or link.startswith(("mailto:", "/")):
            return match[0]
        path = os.path.normpath(Path(source).parent / link).replace(os.sep, "/")
        if path in places:
            return f"{start}{_relative(places[path], here)}{anchor}"
        if path.startswith("docs/pictures/"):
            return f"{start}{_relative(path.removeprefix('docs/'), here)}"
        return f"{start}{REPOSITORY}/{path}{anchor}"

    return _LINK.sub(leads, text)


def _relative(place: str, here: Path) -> str:
    return os.path.relpath(place, here).replace(os.sep, "/")


def _environment() -> Path:
    target = RUNTIME / "mkdocs"
    python = target / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (target / "ready").exists():
        say("Fetching mkdocs-material…")
        for command in (
            [sys.executable, "-m", "venv", str(target)],
            [str(python), "-m", "pip", "install", "--quiet", *MKDOCS],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise SetupError(f"{' '.join(command[:4])} failed:\n{done.stderr[-800:]}")
        (target / "ready").touch()
    return python


if __name__ == "__main__":
    raise SystemExit(main())
