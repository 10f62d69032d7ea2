"""`make demo`: generates pictures with the real ComfyUI, with LoRAs written as in the Runware API.

By default it uses the showcase: a tiny trained checkpoint and five styles, served by a local server that responds as
CivitAI does. With CHECKPOINT and LORA it uses your own checkpoint and the real CivitAI.

    make demo
    make demo CHECKPOINT=sd_xl_base_1.0.safetensors LORA='[{"model": "civitai:120096@135931", "weight": 0.7}]'
    more settings: PROMPT='…'  SIZE=1024x1024  STEPS=20  CFG=7  SEED=1
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tools.comfy_client import ComfyClient, Failed, Rejected, Result
from tools.comfy_process import ComfyProcess
from tools.graphs import TextToImage
from tools.runtime import (
    ROOT,
    RUNTIME,
    Comfyui,
    SetupError,
    comfyui_in_use,
    end_well_when_terminated,
    has_gpu,
    say,
)
from tools.stage import ShowcaseStage, showcase_picture
from tools.waiting import LABEL_WIDTH, Waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

_Number = TypeVar("_Number", int, float)

OUTPUT = ROOT / "demo_output"


@dataclass(frozen=True)
class Shot:
    """One picture to generate: the label below it, and its array."""

    label: str
    lora: list[dict[str, Any]]

    @property
    def text(self) -> str:
        """The array as JSON, as the documentation writes it."""
        return json.dumps(self.lora)


@dataclass(frozen=True)
class Taken:
    """A generated picture."""

    shot: Shot
    picture: Image.Image
    report: dict[str, Any]
    seconds: float

    @property
    def pixels(self) -> str:
        """SHA-256 of the picture's pixels. The files differ, because they also contain the workflow."""
        return hashlib.sha256(self.picture.tobytes()).hexdigest()


def main() -> int:
    """Runs the demo. Returns exit status 0 if every check succeeded."""
    end_well_when_terminated()
    try:
        _need_pillow()
        comfyui = comfyui_in_use()
        if os.environ.get("CHECKPOINT", "").strip():
            return _with_own_checkpoint(comfyui)
        if os.environ.get("LORA", "").strip():
            raise SetupError("LORA needs CHECKPOINT as well: the name of a checkpoint of yours, or its path.")
        return _with_showcase(comfyui)
    except (SetupError, Rejected, Failed) as error:
        say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        return 130


def _with_showcase(comfyui: Comfyui) -> int:
    with ShowcaseStage(RUNTIME / "demo") as stage:
        say("Starting ComfyUI (up to a minute the first time)…")
        with ComfyProcess(
            comfyui, stage.base, environment=stage.environment, gpu=has_gpu(comfyui)
        ) as process:
            client = ComfyClient(process.url)
            graph = showcase_picture()
            shots = _showcase_shots(stage)
            taken = take(client, graph, shots)
            same = taken[-1].pixels == taken[-2].pixels
            _print_table(taken)
            notes = {}
            if same:
                say("\nBoth orders of the mixed array gave the same picture, bit for bit.")
                notes = {taken[-1].shot.label: "bit-identical to the other order"}
            else:
                say(
                    "\nThe two orders of the mixed array gave different pictures. This is a bug; please report it."
                )
            path = _save_sheet(
                f"{graph.prompt}, seed {graph.seed} (48 x 48 pixels)", taken, notes, columns=3, grain=8
            )
            say(f"Contact sheet: {path.relative_to(ROOT)}")
            refused = _show_refusal(client, graph, stage)
    return 0 if same and refused else 1


def _showcase_shots(stage: ShowcaseStage) -> list[Shot]:
    air = {style.file_stem: style.air for style in stage.styles}
    neon, dissolve = air["tiny_neon"], air["tiny_dissolve"]
    mixed = [{"model": neon, "weight": 0.6}, {"model": dissolve, "weight": 0.6}]
    return [
        Shot("no LoRA", []),
        *(Shot(f"{style.name} 1.0", [{"model": style.air, "weight": 1.0}]) for style in stage.styles),
        Shot("half the weight: neon 0.5", [{"model": neon, "weight": 0.5}]),
        Shot("mixed: neon 0.6, dissolve 0.6", mixed),
        Shot("mixed: dissolve 0.6, neon 0.6", mixed[::-1]),
    ]


def _show_refusal(client: ComfyClient, graph: TextToImage, stage: ShowcaseStage) -> bool:
    say("\nA LoRA of another architecture is refused before anything is patched:")
    say(f'  [{{"model": "{stage.foreign_air}", "weight": 0.7}}]')
    try:
        client.run(graph.with_lora(json.dumps([{"model": stage.foreign_air, "weight": 0.7}])).workflow())
    except Failed as error:
        say("".join(f"\n  {line}" for line in str(error).splitlines()))
        return True
    say("  It was not refused. This is a bug; please report it.")
    return False


def _with_own_checkpoint(comfyui: Comfyui) -> int:
    graph, array = _own_picture()
    base = RUNTIME / "demo-own"
    folders = () if comfyui.own else (comfyui.path / "models",)
    checkpoint = Path(graph.checkpoint).expanduser()
    if checkpoint.is_file():
        (base / "models/checkpoints").mkdir(parents=True, exist_ok=True)
        link = base / "models/checkpoints" / checkpoint.name
        link.unlink(missing_ok=True)
        link.symlink_to(checkpoint.resolve())
        graph = TextToImage(**{**graph.__dict__, "checkpoint": checkpoint.name})
    say("Starting ComfyUI…")
    with ComfyProcess(comfyui, base, model_folders=folders, gpu=has_gpu(comfyui)) as process:
        client = ComfyClient(process.url)
        known = client.get("/models/checkpoints")
        if graph.checkpoint not in known:
            listed = ", ".join(known) or "none"
            raise SetupError(
                f"CHECKPOINT={graph.checkpoint}: ComfyUI does not list it. Listed: {listed}.\n"
                "Give a listed name with COMFYUI_PATH=…, or the path of a file."
            )
        taken = take(client, graph, [Shot("no LoRA", []), Shot("with the array", array)])
        _print_table(taken)
        path = _save_sheet(f"{graph.prompt[:70]}, seed {graph.seed}", taken, {}, columns=2)
        say(f"Contact sheet: {path.relative_to(ROOT)}")
    return 0


def _own_picture() -> tuple[TextToImage, list[dict[str, Any]]]:
    text = os.environ.get("LORA", "").strip()
    if not text:
        raise SetupError(
            'CHECKPOINT needs LORA as well, e.g. LORA=\'[{"model": "civitai:120096@135931", "weight": 0.7}]\''
        )
    sys.path.insert(0, str(ROOT))
    from lora_resolver import InvalidLoraArray, format_lora_array, parse_lora_array

    try:
        array = json.loads(format_lora_array(parse_lora_array(text)))
    except InvalidLoraArray as error:
        raise SetupError(f"LORA isn't a valid `lora` array:\n{error}") from None
    size = os.environ.get("SIZE", "").strip() or "1024x1024"
    width, _, height = size.lower().partition("x")
    graph = TextToImage(
        checkpoint=os.environ["CHECKPOINT"].strip(),
        prompt=os.environ.get("PROMPT", "").strip() or "a red supercar in a city at sunset",
        width=_number(int, "SIZE", width, example="1024x1024"),
        height=_number(int, "SIZE", height or width, example="1024x1024"),
        steps=_number(int, "STEPS", os.environ.get("STEPS", "").strip() or "20", example="20"),
        cfg=_number(float, "CFG", os.environ.get("CFG", "").strip() or "7", example="7.0"),
        seed=_number(int, "SEED", os.environ.get("SEED", "").strip() or "1", example="1"),
    )
    return graph, array


def _number(kind: Callable[[str], _Number], name: str, text: str, *, example: str) -> _Number:
    try:
        return kind(text)
    except ValueError:
        raise SetupError(f"{name}={os.environ[name].strip()}: write it as {name}={example}") from None


def take(client: ComfyClient, graph: TextToImage, shots: list[Shot]) -> list[Taken]:
    """Generates each picture and prints its progress."""
    from PIL import Image

    taken = []
    for number, shot in enumerate(shots, 1):
        started = time.monotonic()
        label = f"  {number}/{len(shots)}  {shot.label}"
        with Waiting(label):
            result = client.run(graph.with_lora(shot.text).workflow(), seconds=3600)
        picture = Image.open(io.BytesIO(client.image(result.image_references()[0]))).convert("RGB")
        seconds = time.monotonic() - started
        say(f"{label:{LABEL_WIDTH}} {seconds:5.1f} s")
        taken.append(Taken(shot, picture, _report(result), seconds))
    return taken


def _report(result: Result) -> dict[str, Any]:
    """The node's report, from the history of the node that shows it."""
    report: dict[str, Any] = json.loads(result.outputs["report"]["text"][0])
    return report


def _print_table(taken: list[Taken]) -> None:
    """Prints one row for each file, from the run that used it first."""
    rows: dict[str, tuple[str, ...]] = {}
    for shot in taken:
        for entry in shot.report["entries"]:
            if entry["model"] in rows or "sha256" not in entry:
                continue
            keys = f"{entry['keys_matched']} of {entry['keys_matched'] + entry['keys_unmatched']}"
            rows[entry["model"]] = (
                entry["model"],
                entry["file"].rsplit("/", 1)[-1],
                f"{entry['size'] / 1e6:.2f} MB",
                f"{shot.report['seconds']:.2f}" + ("" if entry["downloaded"] else " (on disk)"),
                ", ".join(entry["architecture"]),
                keys,
            )
    _print_columns(("entry", "file", "size", "seconds", "architecture", "keys matched"), list(rows.values()))


def _print_columns(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    say("")
    for row in (head, tuple("-" * width for width in widths), *rows):
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def _save_sheet(
    title: str, taken: list[Taken], notes: dict[str, str], *, columns: int, grain: int = 1
) -> Path:
    from tools.contact_sheet import Panel, contact_sheet

    panels = [Panel(shot.picture, shot.shot.label, notes.get(shot.shot.label, "")) for shot in taken]
    OUTPUT.mkdir(exist_ok=True)
    path = OUTPUT / "contact_sheet.png"
    contact_sheet(title, panels, columns=columns, cell=288, grain=grain).save(path)
    return path


def _need_pillow() -> None:
    try:
        import PIL  # noqa: F401  # checks only whether it is installed
    except ImportError:
        raise SetupError(
            f"{sys.executable} has no Pillow, which ComfyUI itself needs.\n"
            "Name the Python of ComfyUI's environment: make demo COMFYUI_PATH=… PYTHON=…"
        ) from None


if __name__ == "__main__":
    raise SystemExit(main())
