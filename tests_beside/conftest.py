"""Two real ComfyUIs with the packs in PACKS: one with our pack, one without it."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools.browser import ensure_front_end
from tools.comfy_client import ComfyClient
from tools.comfy_process import ComfyProcess
from tools.runtime import Comfyui
from tools.stage import ShowcaseStage

if TYPE_CHECKING:
    from collections.abc import Iterator

FRONT_END = "1.58.1"
PACKS = Path(os.environ["AIR_LORA_DEV_PACKS"])


@dataclass(frozen=True)
class Beside:
    """A running ComfyUI with the packs."""

    process: ComfyProcess
    stage: ShowcaseStage

    @property
    def client(self) -> ComfyClient:
        return ComfyClient(self.process.url)

    @property
    def log(self) -> str:
        return self.process.log.read_text(encoding="utf-8", errors="replace")


def _breaks_every_run(pack: Path) -> bool:
    """Lora Manager wraps a ComfyUI function whose arguments differ in another version."""
    hook = pack / "py" / "metadata_collector" / "metadata_hook.py"
    if not hook.is_file() or "v3_data=v3_data" not in hook.read_text(encoding="utf-8"):
        return False
    is_older = "v3_data" not in (Path(os.environ["AIR_LORA_DEV_COMFYUI"]) / "execution.py").read_text("utf-8")
    if is_older:
        print(f"\n{pack.name} is left out: with it, no prompt runs on this ComfyUI, with us or without")
    return is_older


def _start(base: Path, stack: ExitStack, *, ours: bool) -> Beside:
    stage = stack.enter_context(ShowcaseStage(base))
    for pack in sorted(PACKS.iterdir()):
        # A copy, because some packs write to their own folder.
        if (pack / "__init__.py").is_file() and not _breaks_every_run(pack):
            shutil.copytree(pack, base / "custom_nodes" / pack.name, ignore=shutil.ignore_patterns(".git"))
    comfyui = Comfyui(
        Path(os.environ["AIR_LORA_DEV_COMFYUI"]), Path(os.environ["AIR_LORA_DEV_PYTHON"]), own=False
    )
    arguments = ("--front-end-root", str(ensure_front_end(FRONT_END)))
    process = ComfyProcess(comfyui, base, environment=stage.environment, arguments=arguments, link=ours)
    return Beside(stack.enter_context(process), stage)


@pytest.fixture(scope="session")
def with_ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    with ExitStack() as stack:
        yield _start(tmp_path_factory.mktemp("with"), stack, ours=True)


@pytest.fixture(scope="session")
def without(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beside]:
    with ExitStack() as stack:
        yield _start(tmp_path_factory.mktemp("without"), stack, ours=False)
