"""The import rules of CONTRIBUTING's code map."""

from __future__ import annotations

import ast
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Part → what it must not import. Parts are identified by their folder, and the longest matching name applies.
FORBIDDEN = {
    "lora_resolver": {
        *("torch", "numpy", "comfy", "comfy_api", "folder_paths", "server", "aiohttp"),
        *("nodes", "fleet", "ray"),
    },
    "nodes/patching": {"folder_paths", "server", "requests", "aiohttp", "json", "os.environ", "nodes/server"},
    "nodes/server": {"nodes/patching", "torch"},
    "nodes/endpoint": {"torch", "folder_paths", "requests", "nodes/patching"},
    "nodes": {"folder_paths", "requests", "aiohttp", "fleet", "ray"},
    "fleet": {"torch", "comfy", "comfy_api", "folder_paths", "server", "nodes"},
}
PARTS = sorted(FORBIDDEN, key=len, reverse=True)


def part_of(path: str) -> str:
    return next((part for part in PARTS if path == part or path.startswith(part + "/")), "")


def imports_of(file: Path) -> set[str]:
    """The top-level names of external modules, and the repository paths of relative imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            folder = file.parent
            for _ in range(node.level - 1):
                folder = folder.parent
            inside = folder.relative_to(ROOT).joinpath(*(node.module or "").split(".")).as_posix()
            found |= {inside} | {f"{inside}/{alias.name}" for alias in node.names}
    return found


def modules() -> list[Path]:
    return sorted(
        file for part in ("lora_resolver", "nodes", "fleet") for file in (ROOT / part).rglob("*.py")
    )


@pytest.mark.parametrize("file", modules(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_arrows_go_one_way(file: Path) -> None:
    part = part_of(file.relative_to(ROOT).as_posix())
    for name in imports_of(file):
        for forbidden in FORBIDDEN[part]:
            assert name != forbidden, f"{part} may not import {name}"
            assert not name.startswith(forbidden + "/"), f"{part} may not import {name}"


@pytest.mark.parametrize(
    "file",
    sorted(file for part in ("nodes", "fleet") for file in (ROOT / part).rglob("*.py")),
    ids=lambda file: file.relative_to(ROOT).as_posix(),
)
def test_the_nodes_use_only_public_names_of_the_resolver(file: Path) -> None:
    import lora_resolver

    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "lora_resolver":
            assert node.module == "lora_resolver", f"{node.module} is not public"
            assert {alias.name for alias in node.names} <= set(lora_resolver.__all__)


def rooms_of(package: str) -> dict[str, set[str]]:
    """Each folder and each single module of a package → those that it imports from."""
    base = ROOT / package
    rooms: dict[str, set[str]] = {}
    for file in base.rglob("*.py"):
        inside = file.relative_to(base)
        if inside.as_posix() == "__init__.py":
            continue  # it only re-exports
        room = inside.parts[0].removesuffix(".py")
        taken = {
            name.removeprefix(f"{package}/").split("/")[0]
            for name in imports_of(file)
            if name.startswith(f"{package}/")
        }
        rooms.setdefault(room, set()).update(taken - {room})
    return {room: {each for each in taken if each in rooms} for room, taken in rooms.items()}


# The layers of each package, from the bottom up. Modules of one layer don't import each other.
FLOORS = {
    "lora_resolver": (
        {"errors", "text"},
        {"safe_files", "task_protocol"},
        {"identifiers", "model_file"},
        {"array", "config", "records"},
        {"transfer", "settings", "workflows"},
        {"on_disk"},
        {"sources"},
        {"resolve_session"},
        {"resolver"},
        {"cli"},
        {"__main__"},
    ),
    "nodes": (
        {"patching", "pictures", "server"},
        {"array", "grid"},
        {"analyze", "apply", "hooks", "pick", "prompt", "request", "resolve", "save", "sweep"},
        {"endpoint"},
    ),
}


@pytest.mark.parametrize("package", FLOORS)
def test_rooms_stand_above_what_they_use(package: str) -> None:
    height = {room: number for number, floor in enumerate(FLOORS[package]) for room in floor}
    rooms = rooms_of(package)
    assert set(rooms) == set(height), "each room has a floor"
    upward = [
        (room, used) for room, all_used in rooms.items() for used in all_used if height[used] >= height[room]
    ]
    assert not upward


OPTIONAL = ("sources/shared_store", "sources/archive", "cli/migrate", "cli/upkeep")
"""Optional parts of `lora_resolver/`, which run only when the user requests them."""


def test_nothing_leans_on_what_is_optional(tmp_path: Path) -> None:
    """The rest of the package works without them: it resolves a file and runs a command."""
    copy = tmp_path / "lora_resolver"
    shutil.copytree(ROOT / "lora_resolver", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name in OPTIONAL:
        shutil.rmtree(copy / name) if (copy / name).is_dir() else copy.joinpath(f"{name}.py").unlink()
    header = b'{"a.lora_up.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    content = len(header).to_bytes(8, "little") + header + bytes(4)
    folder = tmp_path / "loras"
    folder.mkdir()
    (folder / "a.safetensors").write_bytes(content)
    code = (
        "import sys; from pathlib import Path; from lora_resolver import Resolver, ResolverConfig\n"
        "folder = Path(sys.argv[1])\n"
        "config = ResolverConfig.from_environment({}, download_dir=folder, search_dirs=(folder,), state_dir=folder)\n"
        "print(Resolver(config).resolve('local:a.safetensors').sha256)\n"
        "from lora_resolver.cli import main; sys.exit(main(['parse', '[]']))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[0] == hashlib.sha256(content).hexdigest()


def test_only_settings_reads_the_environment_and_the_folders() -> None:
    readers = [
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "nodes").rglob("*.py")
        if "folder_paths" in imports_of(file) or "environ" in file.read_text(encoding="utf-8").split()
    ]
    assert readers == ["nodes/server/model_folders.py", "nodes/server/settings.py"]


def test_the_front_door_imports_nothing() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    assert not [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def test_the_resolver_works_where_there_is_neither_torch_nor_comfyui() -> None:
    blocked = sorted(FORBIDDEN["lora_resolver"] - {"nodes"})
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "import lora_resolver\n"
        "[getattr(lora_resolver, name) for name in lora_resolver.__all__]\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_the_public_names_are_there() -> None:
    import lora_resolver

    assert all(hasattr(lora_resolver, name) for name in lora_resolver.__all__)
