"""The commands of this repository: `python tools/dev.py demo`, `… test`, `… check`, `… serve`.

If make is installed, `make <target>` does the same.
Only the standard library is imported before the environment exists.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036  # a clear message instead of a syntax error later
    raise SystemExit(f"Python 3.10 or newer is needed; this is {sys.version.split()[0]}.")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.browser import FRONT_ENDS, ensure_browser, ensure_front_end  # noqa: E402  # needs the path above
from tools.runtime import (  # noqa: E402  # needs the path above
    RUNTIME,
    VENV,
    Comfyui,
    SetupError,
    Terminated,
    comfyui_of_user,
    end_well_when_terminated,
    ensure_checkout,
    ensure_packs_beside,
    ensure_runtime,
    ensure_tests_beside,
    ensure_tools_only,
    say,
    venv_python,
)


def demo(arguments: list[str]) -> int:
    """Generates pictures with the real ComfyUI. No account, GPU, or model is needed."""
    comfyui = comfyui_of_user() or ensure_runtime(tests=False)
    return _run(comfyui.python, "-m", "tools.demo", *arguments, comfyui=comfyui)


def serve(arguments: list[str]) -> int:
    """Starts ComfyUI with the pack, to try it by hand."""
    comfyui = comfyui_of_user() or ensure_runtime(tests=False)
    return _run(comfyui.python, "-m", "tools.serve", *arguments, comfyui=comfyui)


def test(arguments: list[str]) -> int:
    """Runs all tests, including those with the real ComfyUI. Arguments go to pytest."""
    theirs = comfyui_of_user()
    comfyui = ensure_runtime()
    python = comfyui.python
    if theirs:
        comfyui, python = theirs, ensure_tests_beside(theirs)
    if not arguments or any("browser" in each for each in arguments if not each.startswith("not ")):
        ensure_browser()
        for version in FRONT_ENDS:  # here, because the workers would all download them at once
            ensure_front_end(version)
    # If a script starts this in the background, it ignores Ctrl-C, and the tests of Ctrl-C would fail.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not arguments:
        arguments = list(_IN_PARALLEL)
        # Each worker, and each ComfyUI that it starts, gets a share of the cores. More threads would only wait.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _WORKERS)))
    return _run(python, "-m", "pytest", *arguments, comfyui=comfyui)


def test_beside(arguments: list[str]) -> int:
    """Runs the tests together with other packs: PACKS=folder with their checkouts."""
    named = os.environ.get("PACKS", "").strip()
    packs = Path(named).expanduser().resolve() if named else None
    if packs is None or not any(packs.glob("*/__init__.py")):
        raise SetupError(
            f"PACKS={named}: there is no custom node pack in this folder. "
            "Put checkouts of packs into one folder, and name it: make test-beside PACKS=folder"
        )
    comfyui = comfyui_of_user() or ensure_runtime()
    python = ensure_packs_beside(comfyui, packs)
    ensure_browser()
    os.environ["AIR_LORA_DEV_PACKS"] = str(packs)
    beside = Comfyui(comfyui.path, python, own=False)
    return _run(python, "-m", "pytest", "tests_beside", "-s", *arguments, comfyui=beside)


# Only for the whole suite. Each worker starts its own servers, and there are four groups of browser tests.
_GB_OF_A_WORKER = 5  # the maximum, with its servers and models; workers don't all reach it at once


def _memory_gb() -> int:
    """The memory of this machine, or of the container that this runs in."""
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        return _GB_OF_A_WORKER
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else ""
    return min(whole, int(text) if text.isdecimal() else whole) // 2**30


# One more than cores, because tests of pages and servers wait now and then.
_WORKERS = max(1, min((os.cpu_count() or 1) + 1, 5, _memory_gb() // _GB_OF_A_WORKER))
_IN_PARALLEL = (
    *("-n", str(_WORKERS)),
    *("--dist", "loadgroup", "--no-loadscope-reorder", "--durations", "30"),
)


def check(arguments: list[str]) -> int:
    """Checks format, lint, types, and texts, of Python and the page, without changing anything."""
    python = ensure_tools_only()
    steps = (
        ("ruff", "format", "--check", "."),
        ("ruff", "check", "."),
        ("tools.type_check", *arguments),
        ("tools.page_checker",),
        ("tools.word_checker",),
    )
    results = [_run(python, "-m", *step) for step in steps]
    return max(results)


def format_code(_arguments: list[str]) -> int:
    """Formats the code, and fixes what the linter can fix."""
    python = ensure_tools_only()
    return max(
        _run(python, "-m", "ruff", "check", "--fix", "--quiet", "."),
        _run(python, "-m", "ruff", "format", "."),
        _run(python, "-m", "tools.page_checker", "--fix"),
    )


def coverage(arguments: list[str]) -> int:
    """Runs the tests that need no server and no browser, and fails if they cover too little of the code."""
    comfyui = ensure_runtime()
    unit = ("tests/lora_resolver", "tests/nodes", "tests/test_layering.py", "tests/test_locales.py")
    measured = ("--cov=lora_resolver", "--cov=nodes", "--cov-report=term:skip-covered")
    parallel = ("-n", str(_WORKERS), "--dist", "loadgroup")
    return _run(comfyui.python, "-m", "pytest", *parallel, *measured, *unit, *arguments, comfyui=comfyui)


def bench(arguments: list[str]) -> int:
    """Runs all benchmarks, prints a table and writes benchmarks/results.json."""
    comfyui = ensure_runtime()
    return _run(comfyui.python, "-m", "benchmarks", *arguments, comfyui=comfyui)


def pictures(arguments: list[str]) -> int:
    """Makes docs/pictures again: the strip of the showcase, and the row editor in use."""
    comfyui = ensure_runtime()
    ensure_browser()
    return _run(comfyui.python, "-m", "tools.pictures", *arguments, comfyui=comfyui)


def docs(_arguments: list[str]) -> int:
    """Builds the pages as a site in .runtime/site, and checks their links."""
    return _run(ensure_tools_only(), "-m", "tools.site")


def setup(_arguments: list[str]) -> int:
    """Creates the environment and downloads ComfyUI, and does nothing else."""
    comfyui = ensure_runtime()
    say(f"Ready: {comfyui.path.relative_to(ROOT)}, run by {venv_python().relative_to(ROOT)}")
    return 0


def comfyui(arguments: list[str]) -> int:
    """Sets up a checkout of a newer ComfyUI (COMFYUI_PATH=folder): its packages, in its own .venv."""
    named = arguments[0] if arguments else os.environ.get("COMFYUI_PATH", "").strip()
    if not named:
        raise SetupError("Name the checkout: make comfyui COMFYUI_PATH=path/to/ComfyUI")
    ready = ensure_checkout(Path(named).expanduser().resolve())
    say(f"Ready: make test COMFYUI_PATH={ready.path}")
    return 0


def clean(_arguments: list[str]) -> int:
    """Removes what these commands created: the environment, the runtime, pictures, and caches."""
    import shutil

    caches = (".hypothesis", ".pytest_cache", ".mypy_cache", ".ruff_cache")
    for folder in (VENV, RUNTIME, *(ROOT / name for name in ("demo_output", "test_output", *caches))):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in list(ROOT.rglob("__pycache__")):
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def show_help(_arguments: list[str]) -> int:
    """Lists these commands."""
    for name, command in COMMANDS.items():
        say(f"  make {name:11} {(command.__doc__ or '').splitlines()[0]}")
    return 0


COMMANDS = {
    "demo": demo,
    "test": test,
    "test-beside": test_beside,
    "check": check,
    "coverage": coverage,
    "format": format_code,
    "bench": bench,
    "serve": serve,
    "pictures": pictures,
    "docs": docs,
    "setup": setup,
    "comfyui": comfyui,
    "clean": clean,
    "help": show_help,
}


def _run(python: Path, *arguments: str, comfyui: Comfyui | None = None) -> int:
    environment = dict(os.environ)
    # Machines that build images often disable bytecode. Then each of the many processes that the tests start compiles
    # PyTorch and ComfyUI again, which takes half of its start. A separate folder keeps it out of the sources.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.setdefault("PYTHONPYCACHEPREFIX", str(ROOT / ".runtime" / "bytecode"))
    if comfyui is not None:
        environment["AIR_LORA_DEV_COMFYUI"] = str(comfyui.path)
        environment["AIR_LORA_DEV_PYTHON"] = str(comfyui.python)
    with subprocess.Popen([str(python), *arguments], cwd=ROOT, env=environment) as process:
        try:
            return process.wait()
        except KeyboardInterrupt as stop:
            if isinstance(stop, Terminated):  # Ctrl-C reaches the process directly
                process.terminate()
            process.wait()
            raise


def main(argv: list[str]) -> int:
    """Runs one command. Extra words, and those in ARGS, are passed to the program that it runs."""
    name, *arguments = argv or ["help"]
    command = COMMANDS.get(name)
    if command is None:
        say(f"There is no command {name!r}. There are:")
        show_help([])
        return 2
    arguments += shlex.split(os.environ.get("ARGS", ""))
    # A character that the terminal's encoding doesn't have is replaced, so that it never stops a command.
    sys.stdout.reconfigure(errors="replace")
    os.environ.setdefault("PYTHONIOENCODING", ":replace")
    end_well_when_terminated()
    try:
        return command(arguments)
    except SetupError as error:
        say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        say("\nStopped.")
        return 130


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
