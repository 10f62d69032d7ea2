"""Checks a release: `python -m tools.release check v1.2.3` reports whether the tag can be released.

The version is only in pyproject.toml. Everything that shows the version reads it from there.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def faults_of(tag: str) -> list[str]:
    """Returns why the tag can't be a release of this tree; empty if it can."""
    version = re.search(r'^version = "([^"]+)"', _text("pyproject.toml"), re.MULTILINE)
    faults = []
    if version is None or tag != f"v{version[1]}":
        faults.append(
            f"the tag is {tag}, and pyproject.toml has the version {version[1] if version else None}"
        )
    section = re.search(
        rf"^## {re.escape(tag.removeprefix('v'))} - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)",
        _text("CHANGELOG.md"),
        re.MULTILINE | re.DOTALL,
    )
    if section is None or not section[1].strip():
        faults.append(f"CHANGELOG.md has no section “## {tag.removeprefix('v')} - <date>”")
    return faults


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Returns 0 if the tag can be released."""
    if len(arguments) != 2 or arguments[0] != "check":
        print(__doc__)
        return 2
    faults = faults_of(arguments[1])
    for fault in faults:
        print(f"No release: {fault}.")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
