"""Imports the pack as ComfyUI does, under another name, together with the real ComfyUI's modules, on the CPU."""

from __future__ import annotations

import gc
import importlib.util
import sys
import warnings
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT, comfyui_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def _import_comfyui() -> None:
    # First on the path, so that `nodes` is ComfyUI's own module and not our folder with that name.
    sys.path.insert(0, str(comfyui_path()))
    arguments, sys.argv = sys.argv, ["comfyui", "--cpu"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # from ComfyUI's dependencies, which we can't fix
            import comfy.options

            comfy.options.enable_args_parsing()
            import comfy.sd  # loads everything that the tests use while warnings are suppressed
    finally:
        sys.argv = arguments


def _import_pack() -> None:
    import lora_resolver

    spec = importlib.util.spec_from_file_location(
        "air_lora_pack", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec
    assert spec.loader
    pack = importlib.util.module_from_spec(spec)
    sys.modules["air_lora_pack"] = pack
    # One copy of the resolver, because two would have separate error classes that don't catch each other.
    sys.modules["air_lora_pack.lora_resolver"] = lora_resolver
    spec.loader.exec_module(pack)


_import_comfyui()
_import_pack()


@pytest.fixture
def as_comfyui_runs_nodes() -> Iterator[None]:
    """Does the same around each test as ComfyUI's executor does around each node."""
    import torch

    with torch.inference_mode():
        yield


@pytest.fixture(scope="module", autouse=True)
def _models_end_with_their_module() -> Iterator[None]:
    """Frees the models of each module. Otherwise, they add up to ten gigabytes, and other tests run beside these."""
    yield
    import comfy.model_management

    from tests.nodes import checkpoints

    checkpoints.load_once.cache_clear()
    comfy.model_management.unload_all_models()
    gc.collect()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the checkpoints and LoRAs of a module."""
    return tmp_path_factory.mktemp("models")
