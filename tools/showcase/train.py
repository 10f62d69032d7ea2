"""Trains the showcase's checkpoint and LoRAs from scratch, on a CPU: `python -m tools.showcase.train all …`.

Stages can be run separately. Each reads what the earlier ones wrote to --work.

  data      draw the training sprites
  base      train the base model
  loras     train the five LoRAs on it
  export    write checkpoint, LoRAs, and the LoRAs' preview pictures to --out
  preview   write pictures by the trained model to WORK/preview.png
  all       all five, in this order
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .export import export
from .preview import save_preview
from .sprites import save_sprites
from .style_previews import save_style_previews
from .train_base import train_base
from .train_loras import train_loras
from .work_folder import WorkFolder

_STAGES = ("data", "base", "loras", "export", "preview")
_BASE_MINUTES, _LORA_MINUTES = 17, 12
_LORA_LEARNING_RATE_FACTOR = 1.5
"""LoRAs can be trained at a higher learning rate than the base model. --lr is the base model's."""


def main(arguments: list[str] | None = None) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    work = WorkFolder(options.work)
    stages = _STAGES if options.stage == "all" else (options.stage,)
    _require_earlier_stages(parser, stages, work, options.resume)
    work.path.mkdir(parents=True, exist_ok=True)
    options.out.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        _run_stage(stage, work, options)


def _run_stage(stage: str, work: WorkFolder, options: argparse.Namespace) -> None:
    if stage == "data":
        save_sprites(work.sprites, options.sprites)
    elif stage == "base":
        train_base(work, options.minutes or _BASE_MINUTES, options.batch, options.lr)
    elif stage == "loras":
        learning_rate = options.lr * _LORA_LEARNING_RATE_FACTOR
        train_loras(work, options.minutes or _LORA_MINUTES, options.batch, learning_rate, options.resume)
    elif stage == "export":
        export(work, options.out)
        save_style_previews(options.out / "previews")
    else:
        save_preview(work)


def _require_earlier_stages(
    parser: argparse.ArgumentParser, stages: tuple[str, ...], work: WorkFolder, resume: bool
) -> None:
    """Ends the command with an error if a file that the first stage reads doesn't exist yet."""
    inputs = {
        "data": [],
        "base": [work.sprites],
        "loras": [work.sprites, work.base_weights],
        "export": [work.base_weights],
        "preview": [work.base_weights] if work.lora_factors.exists() else [work.sprites, work.base_weights],
    }
    needed = inputs[stages[0]]
    if resume and "loras" in stages:
        needed = [*needed, work.lora_factors]
    made_by = {work.sprites: "data", work.base_weights: "base", work.lora_factors: "loras"}
    for file in needed:
        if not file.exists():
            parser.error(f"{file} is missing. Run the stage {made_by[file]!r} first, with the same --work.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.showcase.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", choices=["all", *_STAGES])
    parser.add_argument("--work", type=Path, required=True, help="folder for what the stages hand on")
    parser.add_argument("--out", type=Path, required=True, help="folder for the finished files")
    parser.add_argument("--sprites", type=int, default=12000, help="training pictures (default: %(default)s)")
    parser.add_argument(
        "--minutes",
        type=float,
        help=f"time for a training (default: base {_BASE_MINUTES}, loras {_LORA_MINUTES})",
    )
    parser.add_argument("--batch", type=int, default=32, help="pictures in a batch (default: %(default)s)")
    parser.add_argument(
        "--lr",
        type=float,
        default=2e-3,
        help=f"learning rate; the LoRAs get {_LORA_LEARNING_RATE_FACTOR} times this (default: %(default)s)",
    )
    parser.add_argument("--resume", action="store_true", help="loras: go on from the last saved LoRAs")
    return parser


if __name__ == "__main__":
    main()
