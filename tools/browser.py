"""What the browser tests need besides ComfyUI: Chromium, and the versions of ComfyUI's page that people use.

.runtime/browsers/               Playwright's Chromium, if the system has none
.runtime/frontends/<version>/    ComfyUI's page, unpacked from its package
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

from tools.runtime import RUNTIME, SetupError, say, venv_python
from tools.waiting import Waiting

FRONT_ENDS = ("1.32.9", "1.58.1")
"""The version that ComfyUI 0.3.75 requires, and a current one."""

FOLDER_IN_WHEEL = "comfyui_frontend_package/static/"
# The browser of a test contacts only ComfyUI.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def installed_browser() -> str | None:
    """Returns the Chromium that AIR_LORA_DEV_BROWSER names, or one on PATH, or None."""
    named = os.environ.get("AIR_LORA_DEV_BROWSER", "").strip()
    names = (named,) if named else ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


def ensure_browser() -> None:
    """Downloads Playwright's Chromium if no browser is installed, or installs the system's if the download fails.

    Raises SetupError with the output of the programs if both fail.
    """
    if installed_browser():
        return
    # In .runtime, because the home folder may be read-only, and so that `make clean` removes it.
    os.environ.setdefault("PLAYWRIGHT_BROWSERS_PATH", str(RUNTIME / "browsers"))
    if not any(Path(os.environ["PLAYWRIGHT_BROWSERS_PATH"]).glob("chromium-*")):
        say("Fetching Chromium…")
    attempts = {"Playwright": [[str(venv_python()), "-m", "playwright", "install", "chromium"]]}
    if shutil.which("apt-get") and os.geteuid() == 0:
        # For a machine that reaches only package registries: Playwright downloads Chromium from elsewhere.
        attempts["apt-get"] = [["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "-y", "chromium"]]
    reasons = []
    for name, commands in attempts.items():
        for command in commands:
            with Waiting("  …"):
                done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            if done.returncode != 0:
                reasons.append(f"{name} said: {_reason(done.stderr or done.stdout)}")
                break
        else:
            return
    raise SetupError(
        "The browser tests need Chromium, and it could not be fetched.\n"
        + "\n".join(reasons)
        + "\nInstall it (on Debian: apt-get install chromium), "
        "or run the others: make test ARGS='-m \"not browser\"'"
    )


def _reason(said: str) -> str:
    """Returns the line of a program's output that gives the reason, without stack traces."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["nothing"]
    return next((line for line in lines if "error" in line.lower() or line.startswith("E:")), lines[-1])


def ensure_front_end(version: str) -> Path:
    """Returns the folder of one version of ComfyUI's page. Downloads and unpacks it if it is missing."""
    target = RUNTIME / "frontends" / version
    if (target / "index.html").is_file():
        return target
    say(f"Fetching ComfyUI's front end {version} (30 MB)…")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="unpack-") as work:
        command = [str(venv_python()), "-m", "pip", "download", "--quiet", "--no-deps", "--dest", work]
        done = subprocess.run(
            [*command, f"comfyui-frontend-package=={version}"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SetupError(f"pip could not fetch the front end {version}:\n{done.stderr[-800:]}")
        with zipfile.ZipFile(next(Path(work).glob("*.whl"))) as archive:
            wanted = [name for name in archive.namelist() if name.startswith(FOLDER_IN_WHEEL)]
            archive.extractall(work, wanted)
        try:
            (Path(work) / FOLDER_IN_WHEEL).rename(target)
        except OSError:  # another process was faster
            if not (target / "index.html").is_file():
                raise
    return target
