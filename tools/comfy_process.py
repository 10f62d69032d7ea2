"""Starts the real ComfyUI as a separate process, with the pack linked in, and stops it again.

Everything that a run reads and writes is in one base folder (models, custom_nodes, input, output, user), so it never
changes an existing ComfyUI installation.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from tools.runtime import Comfyui, SetupError, link_pack

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

STARTUP_SECONDS = 600
"""A cold start imports torch, transformers and all of ComfyUI's nodes; on a slow or busy machine, it takes minutes."""


def free_port() -> int:
    """Returns a free port on the loopback address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ComfyProcess:
    """A running ComfyUI server, as a context manager.

    `environment` is added to the environment of this process. The folders in `model_folders` (ComfyUI `models` folders)
    are read in addition to the base folder's models. With `gpu`, ComfyUI can use a GPU; otherwise it runs on the CPU.
    Without `link`, ComfyUI loads only the custom nodes that are already in the base folder.
    """

    def __init__(
        self,
        comfyui: Comfyui,
        base: Path,
        *,
        environment: dict[str, str] | None = None,
        model_folders: tuple[Path, ...] = (),
        arguments: tuple[str, ...] = (),
        port: int | None = None,
        gpu: bool = False,
        link: bool = True,
    ) -> None:
        self.comfyui = comfyui
        self.base = base
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = base / "comfyui.log"
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._model_folders = model_folders
        self._arguments = (*arguments, *(() if gpu else ("--cpu",)))
        self._link = link
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> ComfyProcess:
        """Starts the server and waits until it responds. Raises SetupError with the end of its log if it doesn't."""
        if _somebody_listens(self.port):
            raise SetupError(
                f"Port {self.port} is taken, perhaps by a ComfyUI that runs already. "
                f"Name another one: PORT={self.port + 1}"
            )
        if self._link:
            link_pack(self.base / "custom_nodes")
        for folder in ("models/checkpoints", "models/loras", "input", "output", "temp", "user"):
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        command = [
            *(str(self.comfyui.python), "-X", "utf8", str(self.comfyui.path / "main.py")),
            *("--listen", "127.0.0.1", "--port", str(self.port), "--disable-auto-launch"),
            *("--base-directory", str(self.base)),
            *("--database-url", f"sqlite:///{(self.base / 'user' / 'comfyui.db').as_posix()}"),
            *self._extra_models(),
            *self._arguments,
        ]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=self.base, env=self._environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stops the server and waits until its process has ended."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def wait(self) -> int:
        """Waits until the server stops by itself, and returns its exit status."""
        if self._process is None:
            return 0
        return self._process.wait()

    @property
    def pid(self) -> int:
        """The process ID of the running server. Raises SetupError if none is running."""
        if self._process is None:
            raise SetupError("ComfyUI does not run.")
        return self._process.pid

    def log_tail(self, lines: int = 30) -> str:
        """The last lines that the server printed."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def __enter__(self) -> ComfyProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _extra_models(self) -> list[str]:
        if not self._model_folders:
            return []
        sections = {
            f"folder_{number}": {"base_path": str(folder), **_subfolders(folder)}
            for number, folder in enumerate(self._model_folders)
        }
        config = self.base / "extra_model_paths.yaml"
        # JSON is valid YAML. This needs no YAML writer, and a colon in a path can't break it.
        config.write_text(json.dumps(sections, indent=2), encoding="utf-8")
        return ["--extra-model-paths-config", str(config)]

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + STARTUP_SECONDS
        while time.monotonic() < deadline:
            assert self._process is not None  # noqa: S101  # for the type checker: start() has set it
            if self._process.poll() is not None:
                raise SetupError(f"ComfyUI ended while starting. Its last words:\n{self.log_tail()}")
            try:
                with urllib.request.urlopen(f"{self.url}/queue", timeout=30):  # noqa: S310  # our own loopback
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise SetupError(
            f"ComfyUI did not answer within {STARTUP_SECONDS} s. Its last words:\n{self.log_tail()}"
        )


def _somebody_listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _subfolders(models: Path) -> dict[str, str]:
    return (
        {folder.name: folder.name for folder in models.iterdir() if folder.is_dir()}
        if models.is_dir()
        else {}
    )
