"""python lifeline.py main.py …: runs ComfyUI in this process, and ends when the process that started it ends.

The process that starts this one holds the other end of standard input. When that process dies, even by kill -9, every
operating system closes the pipe. Otherwise, ComfyUI would keep running and keep its GPU. ComfyUI runs in this process
and not in a child, because Ray ends its own children, but not their children.
"""

from __future__ import annotations

import os
import runpy
import shutil
import sys
import threading
from pathlib import Path

FOLDER = "AIR_LORA_WORKER_FOLDER"
"""The variable that contains the worker's folder (log and temporary files), which is removed at the end."""


def main(arguments: list[str]) -> None:
    """Runs the script, and returns when the script does."""
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    sys.argv = arguments
    sys.path[0] = str(Path(arguments[0]).parent)
    runpy.run_path(arguments[0], run_name="__main__")


def _end_with_the_starter() -> None:
    while os.read(0, 4096):
        pass
    shutil.rmtree(os.environ.get(FOLDER, ""), ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
