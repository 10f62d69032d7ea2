"""The pack as users get it: a git repository to install from, and the package of the ComfyUI registry.

Both are made from the current checkout, including uncommitted changes, in a separate folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.runtime import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PACK = "air-lora"
"""The folder's name in custom_nodes, which is the project's name."""


@dataclass(frozen=True)
class Package:
    """The file that `comfy node pack` created, and the output of it and of `comfy node validate`."""

    file: Path
    said: str


def repository(folder: Path) -> Path:
    """Creates a git repository in `folder`, with every file of the checkout that git doesn't ignore."""
    copy = folder / PACK
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # a file can be deleted but not yet committed
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    git(copy, "init", "--quiet", "--initial-branch", "main")
    commit(copy, "The checkout as it is now")
    return copy


def commit(repository: Path, message: str) -> None:
    """Commits everything in the repository, independently of the user's git configuration."""
    git(repository, "add", "--all", "--force")
    who = ("-c", "user.name=AIR LoRA", "-c", "user.email=air-lora@localhost", "-c", "commit.gpgsign=false")
    git(repository, *who, "commit", "--quiet", "--message", message)


def package(repository: Path, home: Path) -> Package:
    """Runs `comfy node validate` and `comfy node pack`, as the registry's own action does.

    Their settings are stored in `home`. Raises CalledProcessError if one of them fails.
    """
    environment = {**without_git(), "HOME": str(home), "USERPROFILE": str(home), "XDG_CONFIG_HOME": str(home)}
    said = [
        subprocess.run(
            [sys.executable, "-m", "comfy_cli", "--skip-prompt", "--no-enable-telemetry", "node", command],
            cwd=repository,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        ).stdout
        for command in ("validate", "pack")
    ]
    return Package(repository / "node.zip", "\n".join(said))


def git(folder: Path, *arguments: str) -> str:
    """Runs git in `folder` and returns its output."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, env=without_git(), stdout=subprocess.PIPE, text=True, check=True).stdout


def without_git() -> dict[str, str]:
    """The environment without the variables that git sets for its child processes: they name another repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
