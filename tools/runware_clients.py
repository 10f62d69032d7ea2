"""Clients of the Runware API for the endpoint's tests, each in a separate folder, because two have the same name."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from tools.runtime import RUNTIME, SetupError, say, venv_python

PYTHON_CLIENTS = {"runware": "runware==0.5.24", "runware-sdk": "runware-sdk==1.8.0"}
NODE_CLIENTS = {"@runware/sdk-js": "1.3.2", "@runware/ai-sdk-provider": "2.0.0", "ai": "6.0.326"}


def ensure_python_client(name: str) -> Path:
    """Returns the folder for PYTHONPATH. Installs the client if it is missing."""
    target = RUNTIME / "clients" / PYTHON_CLIENTS[name].replace("==", "-")
    if target.is_dir():
        return target
    say(f"Fetching the client {PYTHON_CLIENTS[name]}…")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix="unpack-"))
    _run([str(venv_python()), "-m", "pip", "install", "--quiet", "--target", str(work), PYTHON_CLIENTS[name]])
    return _placed(work, target)


def ensure_node_clients() -> Path:
    """Returns the folder with `node_modules`. Installs the clients if they are missing."""
    target = RUNTIME / "clients" / "node"
    if target.is_dir():
        return target
    say("Fetching the clients for Node…")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix="unpack-"))
    (work / "package.json").write_text(json.dumps({"private": True, "dependencies": NODE_CLIENTS}))
    _run(["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(work)])
    return _placed(work, target)


def node() -> str | None:
    """The path of Node, if its version works with the clients."""
    found = shutil.which("node")
    return found if found and shutil.which("npm") else None


def _placed(work: Path, target: Path) -> Path:
    try:
        work.rename(target)
    except OSError:  # another process was faster
        shutil.rmtree(work, ignore_errors=True)
    return target


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise SetupError(f"{' '.join(command[:4])} failed:\n{(done.stderr or done.stdout)[-800:]}")
