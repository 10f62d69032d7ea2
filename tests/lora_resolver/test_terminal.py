"""The command line at a terminal: progress bars, Ctrl-C, help."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from lora_resolver.cli import COMMANDS, main
from tests.conftest import ROOT
from tests.lora_resolver.civitai_faults import slowly

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lora_resolver.civitai_faults import FaultyCivitai

pytestmark = pytest.mark.integration  # they start processes, or wait for a stalled server

INK = "civitai:120096@135931"

posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals and signals of this kind")


@pytest.fixture
def environment(civitai: FaultyCivitai, tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AIR_LORA_DIR": str(tmp_path / "loras"),
        "AIR_LORA_CIVITAI_URL": civitai.url,
        "AIR_LORA_SETTINGS": str(tmp_path / "none.json"),
    }


def at_a_terminal(environment: dict[str, str], *arguments: str) -> str:
    """The output that the terminal shows."""
    import fcntl
    import pty
    import termios

    terminal, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))  # rows, columns
    command = [sys.executable, "-m", "lora_resolver", *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=side, stderr=side) as process:
        os.close(side)
        shown = b""
        try:
            while chunk := os.read(terminal, 65536):
                shown += chunk
        except OSError:  # how Linux signals that the other side is closed
            pass
        assert process.wait() == 0
    os.close(terminal)
    return shown.decode()


@posix
def test_bars_on_a_terminal(environment: dict[str, str], civitai: FaultyCivitai) -> None:
    civitai.faults["deliver"] = slowly(100_000)
    shown = at_a_terminal(environment, "prefetch", INK)
    assert "ink.safetensors: " in shown
    assert "100%" in shown
    shown = at_a_terminal(environment, "verify")
    assert "100%" in shown
    assert "1 file, 300.3 kB: no problems found" in shown


@posix
def test_ctrl_c_keeps_what_can_be_resumed(
    environment: dict[str, str], civitai: FaultyCivitai, tmp_path: Path
) -> None:
    civitai.faults["deliver"] = slowly(20_000)
    command = [sys.executable, "-m", "lora_resolver", "prefetch", INK]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE) as process:
        folder = tmp_path / "loras" / "air" / "civitai" / "120096@135931"
        while not (folder / "ink.safetensors.air-part.json").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (130, b"")
    assert {path.suffix for path in folder.iterdir()} <= {".air-part", ".json"}
    del civitai.faults["deliver"]
    assert "downloaded" in at_a_terminal(environment, "prefetch", INK)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_tells_fields_and_exit_status(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert "--json prints" in shown
    assert "  130  stopped with Ctrl-C" in shown
    assert max(map(len, shown.splitlines())) <= 120
