"""Imports the pack as ComfyUI does, under another name, beside the real ComfyUI's modules, on the CPU."""

from __future__ import annotations

import importlib.util
import sys
import warnings

from tests.conftest import ROOT, comfyui_path


def _import_comfyui() -> None:
    # First on the path: ComfyUI's own module `nodes` must not be our folder of that name.
    sys.path.insert(0, str(comfyui_path()))
    arguments, sys.argv = sys.argv, ["comfyui", "--cpu"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ComfyUI's dependencies, which are not ours to mend
            import comfy.options

            comfy.options.enable_args_parsing()
            import comfy.sd  # loads all that the tests use, while its warnings are quiet
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
    # One copy of the resolver: two would have two error classes that do not catch each other.
    sys.modules["air_lora_pack.lora_resolver"] = lora_resolver
    spec.loader.exec_module(pack)


_import_comfyui()
_import_pack()
