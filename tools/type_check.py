"""Checks the types of the package and the nodes: `python -m tools.type_check`, followed by arguments for mypy.

The nodes import from `..lora_resolver`, as in one package, because ComfyUI imports the pack like that, whatever its
folder is called. So mypy checks links to both, arranged as that package.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / ".runtime" / "types" / "air_lora_pack"
"""pyproject.toml uses this path."""


def lay_out() -> None:
    """Creates the missing links. Raises OSError if the system doesn't allow links."""
    PACKAGE.mkdir(parents=True, exist_ok=True)
    (PACKAGE / "__init__.py").touch()
    for name in ("nodes", "lora_resolver"):
        place = PACKAGE / name
        if not place.is_symlink() or place.resolve() != ROOT / name:
            place.unlink(missing_ok=True)
            place.symlink_to(ROOT / name, target_is_directory=True)


def main(arguments: list[str]) -> int:
    """Returns mypy's exit status."""
    try:
        lay_out()
    except OSError as error:  # Windows, without the permission to create links
        print(f"{PACKAGE} cannot be laid out: {error}. Switch on developer mode, or check on another system.")
        return 1
    return subprocess.run([sys.executable, "-m", "mypy", *arguments], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
