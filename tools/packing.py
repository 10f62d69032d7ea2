"""The pack as its users get it: a git repository to install from, and the package of the ComfyUI registry.

Both are made of the checkout as it lies here, with what is not committed yet, in a folder of their own.
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
"""The folder's name in custom_nodes: the project's name."""


@dataclass(frozen=True)
class Package:
    """What `comfy node pack` made of a repository, and what it and `comfy node validate` said."""

    file: Path
    said: str


def repository(folder: Path) -> Path:
    """A git repository in `folder`, with every file of the checkout that git would take."""
    copy = folder / PACK
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # a file may be deleted, and not yet committed
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    git(copy, "init", "--quiet", "--initial-branch", "main")
    commit(copy, "The checkout as it is now")
    return copy


def commit(repository: Path, message: str) -> None:
    """All that lies in the repository, whoever runs this."""
    git(repository, "add", "--all", "--force")
    who = ("-c", "user.name=AIR LoRA", "-c", "user.email=air-lora@localhost", "-c", "commit.gpgsign=false")
    git(repository, *who, "commit", "--quiet", "--message", message)


def package(repository: Path, home: Path) -> Package:
    """`comfy node validate` and `comfy node pack`, as the registry's own action runs them.

    Their settings go to `home`. Raises CalledProcessError where one of them ends with an error.
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
    """What git prints."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, env=without_git(), stdout=subprocess.PIPE, text=True, check=True).stdout


def without_git() -> dict[str, str]:
    """The environment, less what git says to the programs that it starts: it would name another repository."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
