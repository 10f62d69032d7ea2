"""What demo, serve, and the tests share: the showcase checkpoint, and a local CivitAI with its styles."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tools.civitai_server import CatalogueEntry, CivitaiServer, read_catalogue
from tools.foreign_lora import write_sdxl_lora
from tools.graphs import TextToImage
from tools.runtime import ROOT, SetupError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from typing_extensions import Self

SHOWCASE = ROOT / "tools" / "showcase"
CHECKPOINT = "tiny-showcase-all.ckpt"
# Invented IDs, far above CivitAI's.
FOREIGN_MODEL, FOREIGN_VERSION = 9000099, 9100099
# A folder of custom nodes without nodes. ComfyUI's page opens a template of such a folder if its address names it.
TEMPLATES, TEMPLATE = "air-lora-showcase", "showcase"
WORKFLOW = SHOWCASE / "workflow.json"


@dataclass(frozen=True)
class Style:
    """One showcase LoRA on the local server."""

    name: str
    air: str
    file_stem: str


class ShowcaseStage:
    """A context manager that provides the base folder for ComfyUI and runs the local server.

    `environment` sets the address of that server and removes the user's tokens, because nothing here needs one.
    """

    def __init__(self, base: Path, server: type[CivitaiServer] = CivitaiServer) -> None:
        self.base = base
        self._server = server(self._catalogue())

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables for the ComfyUI process."""
        return {"AIR_LORA_CIVITAI_URL": self._server.url, "CIVITAI_API_TOKEN": "", "HF_TOKEN": ""}

    @property
    def styles(self) -> list[Style]:
        """The five styles, in the catalogue's order."""
        return [
            Style(entry.name, f"civitai:{entry.model_id}@{entry.version_id}", entry.file.stem)
            for entry in read_catalogue(SHOWCASE / "catalogue.json")
        ]

    @property
    def foreign_air(self) -> str:
        """The identifier of an SDXL LoRA, which doesn't match the showcase checkpoint."""
        return f"civitai:{FOREIGN_MODEL}@{FOREIGN_VERSION}"

    @property
    def page(self) -> str:
        """The path and query that open the page with the showcase's workflow."""
        return f"/?template={TEMPLATE}&source={TEMPLATES}"

    def __enter__(self) -> Self:
        _place_checkpoint(self.base / "models" / "checkpoints")
        _place_workflow(self.base / "custom_nodes" / TEMPLATES)
        _greet_nobody(self.base / "user" / "default" / "comfy.settings.json")
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)

    def _catalogue(self) -> list[CatalogueEntry]:
        if not (SHOWCASE / "catalogue.json").is_file():
            raise SetupError(
                f"{SHOWCASE.relative_to(ROOT)} is not here. The demo needs the whole repository."
            )
        entries = list(read_catalogue(SHOWCASE / "catalogue.json"))
        foreign = self.base / "served" / "sdxl-watercolour.safetensors"
        foreign.parent.mkdir(parents=True, exist_ok=True)
        if not foreign.is_file():
            write_sdxl_lora(foreign)
        entries.append(
            replace(
                entries[0],
                model_id=FOREIGN_MODEL,
                version_id=FOREIGN_VERSION,
                name="Watercolour for SDXL",
                version_name="v1.0",
                base_model="SDXL 1.0",
                trigger_words=("watercolour",),
                file=foreign,
                preview=None,
            )
        )
        return entries


def showcase_picture() -> TextToImage:
    """The settings that the showcase checkpoint was trained for (tools/showcase/README.md)."""
    return TextToImage(
        checkpoint=CHECKPOINT,
        prompt="red supercar, city, sunset",
        width=384,
        height=384,
        steps=15,
        cfg=2.0,
        seed=11,
        scheduler="simple",
        latent="EmptySD3LatentImage",
    )


def _place_checkpoint(folder: Path) -> None:
    """Copies the checkpoint once. The copy gets its final name last, so an interrupted copy is never used."""
    source, target = SHOWCASE / CHECKPOINT, folder / CHECKPOINT
    if not source.is_file():
        raise SetupError(f"{source.relative_to(ROOT)} is not here. The demo needs the whole repository.")
    if target.is_file() and target.stat().st_size == source.stat().st_size:
        return
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    shutil.copyfile(source, part)
    part.replace(target)


def _place_workflow(folder: Path) -> None:
    templates = folder / "example_workflows"
    templates.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(WORKFLOW, templates / f"{TEMPLATE}.json")
    (folder / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}\n", encoding="utf-8")


def _greet_nobody(settings: Path) -> None:
    """Keeps a new ComfyUI from showing its own templates over the workflow. Doesn't change existing settings."""
    if not settings.exists():
        settings.parent.mkdir(parents=True, exist_ok=True)
        settings.write_text(json.dumps({"Comfy.TutorialCompleted": True}), encoding="utf-8")
