"""One real ComfyUI with the pack, started by a worker, on a free port of this computer."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .lifeline import FOLDER
from .ping import status_of_ping

ENDPOINT = "/air_lora/v1"
START_SECONDS = 600.0
"""A machine that reads a large custom_nodes folder over a network takes minutes."""


class ComfyuiFailed(Exception):
    """ComfyUI didn't start, or has exited."""


@dataclass(frozen=True)
class Launch:
    """How workers start ComfyUI. It is the same for all workers."""

    comfyui: str
    """The folder with main.py."""
    python: str
    arguments: tuple[str, ...] = ()
    """Additional arguments for ComfyUI, such as --base-directory."""
    folder: str | None = None
    """The folder for the workers' own folders, which `run` removes at its end. None: the system's temporary folder."""


class Comfyui:
    """A running ComfyUI."""

    def __init__(self, launch: Launch, cores: int | None = None) -> None:
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = Path(tempfile.mkdtemp(prefix="air-lora-worker-", dir=launch.folder))
        self.log = self.folder / "comfyui.log"
        command = [
            *(launch.python, "-X", "utf8", str(Path(__file__).with_name("lifeline.py"))),
            str(Path(launch.comfyui) / "main.py"),
            *("--listen", "127.0.0.1", "--port", str(self.port), "--disable-auto-launch"),
            *("--temp-directory", str(self.folder)),
            *("--database-url", f"sqlite:///{(self.folder / 'comfyui.db').as_posix()}"),
            *launch.arguments,
        ]
        environment = {**os.environ, "AIR_LORA_API": "1", "PYTHONUNBUFFERED": "1", FOLDER: str(self.folder)}
        environment.pop("PYTHONPATH", None)  # set for Ray's own workers
        if cores:
            environment |= {"OMP_NUM_THREADS": str(cores), "MKL_NUM_THREADS": str(cores)}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            )
        self._wait()

    def is_running(self) -> bool:
        """Whether its process is running."""
        return self._process.poll() is None

    def answers(self, seconds: float) -> bool:
        """Whether it answers a ping within `seconds`."""
        return status_of_ping(self.url + ENDPOINT, seconds) == 200

    def stop(self) -> None:
        """Stops ComfyUI, waits until its process has exited, and removes its folder."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:  # it hangs
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def last_words(self) -> str:
        """The end of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-30:])

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if not self.is_running():
                raise ComfyuiFailed(
                    f"ComfyUI exited during startup. The end of its log:\n{self.last_words()}"
                )
            status = status_of_ping(self.url + ENDPOINT, 5)
            if status == 200:
                return
            if status in (404, 405):  # ComfyUI loads nodes before it listens, so it does not have the pack
                self.stop()
                raise ComfyuiFailed(
                    "ComfyUI started without the pack: /air_lora/v1 doesn't exist. Put the pack's folder in its "
                    "custom_nodes folder, and check ComfyUI's log for errors."
                )
            time.sleep(0.2)
        self.stop()
        raise ComfyuiFailed(
            f"ComfyUI didn't respond at {self.url}{ENDPOINT} within {START_SECONDS:.0f} seconds. Check that the pack "
            f"is in its custom_nodes folder. The end of its log:\n{self.last_words()}"
        )


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
