"""`python -m tools.tiny_checkpoints FOLDER [NAME…]`: creates the checkpoints that are missing in FOLDER."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from . import CHECKPOINTS, DEFAULT, make_checkpoints

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments_given: Sequence[str] | None = None) -> None:
    table = "\n".join(
        f"  {name:<14}{checkpoint.about}{' (only when named)' if checkpoint.heavy else ''}"
        for name, checkpoint in CHECKPOINTS.items()
    )
    parser = argparse.ArgumentParser(
        prog="python -m tools.tiny_checkpoints",
        description="Makes tiny checkpoints of random weights, laid out as ComfyUI's models folder.",
        epilog=f"names:\n{table}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all light ones")
    arguments = parser.parse_args(arguments_given)
    # Checked here and not with `choices`, because Python 3.10 would reject the empty list when no name is given.
    unknown = [name for name in arguments.names if name not in CHECKPOINTS]
    if unknown:
        parser.error(f"no checkpoint is called {unknown[0]!r}; there are {', '.join(CHECKPOINTS)}")
    for name in arguments.names or DEFAULT:
        started = time.perf_counter()
        path = make_checkpoints(arguments.folder, [name])[name]
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB  {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
