"""Checks pages, error messages, and the page's strings against the glossary.

It uses textlint and its rule `terminology` (npm). The glossary is in tools/word_checks/textlint.json. There is none
for other languages.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.messages import page
from tools.page_checker import node, npm

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = ROOT / "tools" / "word_checks"
TOOLS = ROOT / ".runtime" / "word_checks"
PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "web/docs/*.md")
_STRING = re.compile(r'^\s+\w+:\s*"(.*)",?$', re.MULTILINE)


def main(_arguments: list[str]) -> int:
    """Returns the exit status of textlint."""
    ensure_tools()
    texts = TOOLS / "texts"
    shutil.rmtree(texts, ignore_errors=True)
    for pattern in PAGES:
        for file in sorted(ROOT.glob(pattern)):
            copy = texts / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    (texts / "messages.md").write_text(page(), encoding="utf-8")
    strings = _STRING.findall((ROOT / "web" / "strings.js").read_text(encoding="utf-8"))
    (texts / "strings.md").write_text("\n\n".join(strings) + "\n", encoding="utf-8")
    program = TOOLS / "node_modules" / "textlint" / "bin" / "textlint.js"
    command = [node(), str(program), "--config", str(CONFIGURATION / "textlint.json"), "texts/**/*.md"]
    return subprocess.run(command, cwd=TOOLS, check=False).returncode


def ensure_tools() -> None:
    """Installs the packages in package.json, if they aren't installed yet. Raises CalledProcessError."""
    wanted = (CONFIGURATION / "package.json").read_text(encoding="utf-8")
    stamp, text = TOOLS / "stamp", hashlib.sha256(wanted.encode()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == text:
        return
    TOOLS.mkdir(parents=True, exist_ok=True)
    (TOOLS / "package.json").write_text(wanted, encoding="utf-8")
    options = ("--no-package-lock", "--no-audit", "--no-fund", "--loglevel", "error")
    subprocess.run([*npm(), "install", *options], cwd=TOOLS, check=True)
    stamp.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
