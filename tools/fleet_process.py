"""Runs `python -m fleet run` in its own process, with workers that a test can find and end."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import requests

from tools.comfy_process import free_port, link_pack
from tools.ray_environment import ensure_ray
from tools.runtime import ROOT, SetupError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tools.runtime import Comfyui

START_SECONDS = 600


class FleetProcess:
    """A fleet: workers with one base folder, behind one address."""

    def __init__(
        self, comfyui: Comfyui, base: Path, *, environment: dict[str, str], arguments: tuple[str, ...] = ()
    ) -> None:
        self.comfyui = comfyui
        self.base = base
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = base / "fleet.log"
        self.arguments = arguments
        # Ray ends its own processes when memory is nearly full, even if others use it, such as other tests.
        own = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0"}
        self.environment = {**os.environ, **environment, **own}
        for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
            self.environment.pop(name, None)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> FleetProcess:
        """Returns when all workers answer. Raises SetupError with the end of the log."""
        link_pack(self.base / "custom_nodes")
        for folder in ("models/checkpoints", "models/loras", "input", "output", "user"):
            (self.base / folder).mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(), cwd=ROOT, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        until = time.monotonic() + START_SECONDS
        try:
            while time.monotonic() < until:
                if self._process.poll() is not None:
                    break
                if self._answers():
                    return self
                time.sleep(0.3)
        except BaseException:  # also pytest's own time limit
            self.kill()
            raise
        self.kill()
        raise SetupError(f"The workers did not start:\n{self.log.read_text(errors='replace')[-3000:]}")

    def command(self) -> list[str]:
        """The command that starts the fleet."""
        return [
            *(str(ensure_ray()), "-m", "fleet", "run", "--port", str(self.port)),
            *("--comfyui", str(self.comfyui.path), "--python", str(self.comfyui.python)),
            *self.arguments,
            *("--", "--base-directory", str(self.base), "--cpu"),
        ]

    def comfyuis(self) -> list[psutil.Process]:
        """The ComfyUI process of each worker, the oldest first."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if str(self.base) in words and any(word.endswith("lifeline.py") for word in words):
                found.append(process)
        return sorted(found, key=lambda process: process.create_time())

    def stop(self) -> None:
        """Stops the fleet as a user does."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=120)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process = None
        self._wait_for_the_end()

    def kill(self) -> None:
        """Kills the `fleet run` process (kill -9)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._wait_for_the_end()

    def __enter__(self) -> FleetProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/air_lora/v1/status", timeout=30).status_code == 200
        except requests.RequestException:
            return False

    def _wait_for_the_end(self) -> None:
        until = time.monotonic() + 180
        while self.comfyuis() and time.monotonic() < until:
            time.sleep(0.1)
        if self.comfyuis():
            raise SetupError("A ComfyUI runs on after its fleet has ended.")
