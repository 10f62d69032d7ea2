"""Run several ComfyUI workers behind one endpoint, and send batches of tasks to it. See docs/workers.md."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

INSTALL = "Run: python -m pip install 'ray[serve]' requests tqdm Pillow"

try:
    import requests

    from .batch import Batch, BatchFailed, namespace_of, read_tasks
except ImportError as error:
    raise SystemExit(f"A package is missing ({error}). {INSTALL}") from None

ROOT = Path(__file__).resolve().parent.parent
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
ENDPOINT = "http://127.0.0.1:8000/air_lora/v1"


def main(arguments: list[str]) -> int:
    """Returns the exit status: 0, 1 if tasks failed, or 2 if the command couldn't run."""
    options = _parser().parse_args(arguments)
    command = {"run": _run, "batch": _batch, "status": _status}[options.command]
    try:
        return command(options)
    except BatchFailed as error:
        print(error, file=sys.stderr)
        return 2
    except OSError as error:
        again = " Then run the same command again to resume." if options.command == "batch" else ""
        print(f"{error}. Check the folder's permissions and free space.{again}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        again = " Run the same command again to resume." if options.command == "batch" else ""
        print(f"Stopped.{again}", file=sys.stderr, flush=True)
        os._exit(130)  # threads that wait for answers would delay the exit


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fleet", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="start workers and the endpoint in front of them")
    run.add_argument(
        "--workers", type=_positive, default=1, metavar="N", help="number of ComfyUI workers (default 1)"
    )
    run.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    run.add_argument("--port", type=_port, default=8000, help="port to listen on (default 8000)")
    run.add_argument("--address", help="address of a Ray cluster (default: run Ray on this computer only)")
    run.add_argument("--comfyui", type=Path, help="ComfyUI folder (default: the one that contains this pack)")
    run.add_argument(
        "--python", default=sys.executable, help="Python executable for ComfyUI (default: this one)"
    )
    run.add_argument(
        "--gpus", type=_number, metavar="N", help="GPUs for each worker (default: 1 if available)"
    )
    run.add_argument(
        "--cpus", type=_positive, default=1, metavar="N", help="CPU cores for each worker (default 1)"
    )
    run.add_argument(
        "--queue",
        type=_positive,
        default=1000,
        metavar="N",
        help="maximum number of waiting tasks (default 1000)",
    )
    run.add_argument(
        "--hang-seconds",
        type=_number,
        default=60.0,
        metavar="N",
        help="replace a worker that doesn't respond for this many seconds (default 60)",
    )
    run.add_argument(
        "--affinity-seconds",
        type=_number,
        default=1.0,
        metavar="N",
        help="how long a task waits for a worker that has its array loaded, even if others are free (default 1)",
    )
    run.add_argument("--no-affinity", action="store_true", help="send tasks to any worker (for comparison)")
    run.add_argument("arguments", nargs="*", metavar="-- …", help="additional arguments for ComfyUI")
    batch = commands.add_parser("batch", help="run the tasks in a file; run again to resume")
    batch.add_argument("tasks", type=Path, help="file with one task per line, as JSON")
    batch.add_argument("--out", type=Path, required=True, help="folder for the images and results.jsonl")
    batch.add_argument("--endpoint", default=ENDPOINT, help=f"default: {ENDPOINT}")
    batch.add_argument(
        "--at-once", type=_positive, default=8, metavar="N", help="tasks to send at the same time (default 8)"
    )
    batch.add_argument(
        "--patience",
        type=_number,
        default=600.0,
        metavar="S",
        help="seconds to wait for an endpoint that doesn't respond (default 600)",
    )
    batch.add_argument("--grid", type=Path, metavar="FILE", help="also save all images as one grid image")
    batch.add_argument(
        "--across", default="lora", help="parameter for the columns of the grid (default lora)"
    )
    batch.add_argument("--down", default="seed", help="parameter for the rows of the grid (default seed)")
    status = commands.add_parser(
        "status", help="show finished tasks, and how often their LoRAs were already loaded"
    )
    status.add_argument("--endpoint", default=ENDPOINT, help=f"default: {ENDPOINT}")
    return parser


def _run(options: argparse.Namespace) -> int:
    try:
        from . import serving  # noqa: F401 - whether Ray is installed
    except ImportError as error:
        print(f"Ray Serve isn't installed ({error}). {INSTALL}", file=sys.stderr)
        return 2
    comfyui = options.comfyui or ROOT.parent.parent
    if not (comfyui / "main.py").is_file():
        print(f"{comfyui} has no main.py. Specify the ComfyUI folder with --comfyui.", file=sys.stderr)
        return 2
    if shutil.which(options.python) is None:
        print(
            f"Program {options.python} not found. Specify the Python for ComfyUI with --python.",
            file=sys.stderr,
        )
        return 2
    own = [each for each in options.arguments if each.partition("=")[0] in ("--port", "--listen")]
    if own:
        print(
            f"{own[0]} can't be set for workers. Remove it, or use --port and --host before --.",
            file=sys.stderr,
        )
        return 2
    # Until the workers run, a signal ends this process at once, and what it has started ends with it. A handler of
    # Python's would wait until Ray, which may wait for minutes, returns.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_DFL)
    folder = None if options.address else tempfile.mkdtemp(prefix="air-lora-fleet-")
    try:
        return _run_until_a_signal(options, comfyui, folder)
    finally:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


def _run_until_a_signal(options: argparse.Namespace, comfyui: Path, folder: str | None) -> int:
    from .comfyui import Launch
    from .serving import Fleet, start, stop

    launch = Launch(str(comfyui.resolve()), options.python, tuple(options.arguments), folder)
    fleet = Fleet(
        launch,
        options.workers,
        host=options.host,
        port=options.port,
        address=options.address,
        queue=options.queue,
        gpus=options.gpus,
        cpus=options.cpus,
        hang_seconds=options.hang_seconds,
        with_affinity=not options.no_affinity,
        patience=options.affinity_seconds,
    )
    try:
        start(fleet)
    except (RuntimeError, OSError) as error:
        with contextlib.suppress(Exception):
            stop(fleet)
        print(f"\n{error}", file=sys.stderr)
        return 2
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    shown = "127.0.0.1" if options.host == "0.0.0.0" else options.host  # noqa: S104 - only compared
    workers = "1 worker" if options.workers == 1 else f"{options.workers} workers"
    print(f"{workers} ready at http://{shown}:{options.port}/air_lora/v1", flush=True)
    ended.wait()
    stop(fleet)
    return 0


def _batch(options: argparse.Namespace) -> int:
    try:
        address = urlsplit(options.endpoint)
        valid = address.scheme in ("http", "https") and bool(address.hostname)
    except ValueError:
        valid = False
    if not valid:
        raise BatchFailed(f"{options.endpoint} isn't a valid address. Write it like {ENDPOINT}.")
    if not options.tasks.is_file():
        raise BatchFailed(f"{options.tasks} doesn't exist or isn't a file.")
    if options.grid and (not options.grid.parent.is_dir() or options.grid.suffix.lower() not in PICTURES):
        raise BatchFailed(
            f"{options.grid} can't be written. Use a .png, .jpg, or .webp file in an existing folder."
        )
    tasks = read_tasks(options.tasks, namespace_of(options.out))
    if options.grid:
        from .grid import check_axes, draw

        check_axes(tasks, options.across, options.down)
    key = os.environ.get("AIR_LORA_API_KEY", "").strip()
    batch = Batch(options.endpoint, options.out, key, options.at_once, options.patience)
    results = batch.run(tasks)
    wrong = [result for result in results if result.error]
    for result in wrong:
        print(f"{options.tasks}, line {result.line}: {result.error}", file=sys.stderr)
    print(f"{len(results) - len(wrong)} of {len(results)} tasks are done. Results are in {options.out}")
    if options.grid:
        draw(tasks, results, options.out, options.across, options.down).save(options.grid)
        print(options.grid)
    return 1 if wrong else 0


def _status(options: argparse.Namespace) -> int:
    key = os.environ.get("AIR_LORA_API_KEY", "").strip()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = requests.get(f"{options.endpoint}/status", headers=headers, timeout=10)
        said: dict[str, Any] = answer.json()
    except (requests.RequestException, ValueError) as error:
        print(f"{options.endpoint} doesn't respond ({type(error).__name__}).", file=sys.stderr)
        return 2
    print(json.dumps(said, indent=2))
    return 0 if answer.status_code == 200 else 2


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of 1 or more")
    return int(text)


def _port(text: str) -> int:
    if _positive(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} isn't a valid port; the highest port is 65535")
    return int(text)


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of 0 or more")
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
