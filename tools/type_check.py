"""Checks the types of the package and the nodes: `python -m tools.type_check`, with mypy's own arguments behind it.

The nodes take from `..lora_resolver`, as one package: that is how ComfyUI imports the pack, whatever its folder is
called. So mypy looks at links to both, laid out as that package.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / ".runtime" / "types" / "air_lora_pack"
"""Named in pyproject.toml."""


def lay_out() -> None:
    """Makes the links that are missing. Raises OSError where the system does not allow them."""
    PACKAGE.mkdir(parents=True, exist_ok=True)
    (PACKAGE / "__init__.py").touch()
    for name in ("nodes", "lora_resolver"):
        place = PACKAGE / name
        if not place.is_symlink() or place.resolve() != ROOT / name:
            place.unlink(missing_ok=True)
            place.symlink_to(ROOT / name, target_is_directory=True)


def main(arguments: list[str]) -> int:
    """mypy's exit status."""
    try:
        lay_out()
    except OSError as error:  # Windows, without the right to make links
        print(f"{PACKAGE} cannot be laid out: {error}. Switch on developer mode, or check on another system.")
        return 1
    return subprocess.run([sys.executable, "-m", "mypy", *arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
