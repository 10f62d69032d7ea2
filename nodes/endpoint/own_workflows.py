"""The user's own workflows, which replace the standard ones: files in API format with a Runware Request node."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ...lora_resolver import InvalidInput, one_or_several
from ..server.settings import user_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Workflow = dict[str, dict[str, Any]]

OWN_FOLDER = "air_lora_endpoint"
"""In ComfyUI's user folder. Its files are named after a model or a family."""

REQUEST_NODE = "AirLoraRequest"
_OUTPUTS: Mapping[str, tuple[int, ...]] = {
    "positivePrompt": (0,),
    "negativePrompt": (1,),
    "width": (2,),
    "height": (3,),
    "steps": (6,),
    "CFGScale": (7,),
    "scheduler": (8, 9),
    "strength": (10,),
    "vae": (12,),
    "lora": (13,),
    "lycoris": (13,),
    "embeddings": (0, 1),
    "clipSkip": (),
}
"""Member of a task → the outputs of Runware Request that carry it. `clipSkip` has none."""

_NEEDED = frozenset({"lora", "lycoris", "embeddings", "seedImage", "maskImage"})
"""Without these, the picture would be different, so a workflow that doesn't use them is an error."""


def own_graph(names: Sequence[str]) -> tuple[str, Workflow] | None:
    """(file name, workflow) of the user's own for the first of these names (a model, then its family) that has one.

    Raises InvalidInput for a workflow that can't be read or has no Runware Request.
    """
    folder = user_folder(OWN_FOLDER)
    if not folder.is_dir():
        return None
    files: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.json")):
        files.setdefault(_plain(file.stem), []).append(file)
    found = next((files[_plain(name)] for name in names if name and _plain(name) in files), None)
    if found is None:
        return None
    path = found[0]
    if len(found) > 1:
        others = " and ".join(each.name for each in found[1:])
        raise _own_wrong(
            path, f"is for the same model as {others}", "Keep one of them, and rename the others."
        )
    try:
        workflow = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _own_wrong(
            path, f"isn't valid JSON ({error})", "Save it again with File > Export (API)."
        ) from None
    nodes = list(workflow.values()) if isinstance(workflow, dict) else []
    if not nodes or not all(map(_is_node, nodes)):
        raise _own_wrong(path, "isn't a workflow in API format", "Save it with File > Export (API).")
    if not any(node["class_type"] == REQUEST_NODE for node in nodes):
        raise _own_wrong(path, "has no Runware Request node", "Add one, and connect its outputs.")
    return path.name, workflow


def _is_node(node: object) -> bool:
    return (
        isinstance(node, dict)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs", {}), dict)
    )


def not_used(name: str, workflow: Workflow, task: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Notes about the members of the task that the workflow `name` doesn't use.

    Raises InvalidInput or SeveralErrors for those without which the picture would be different.
    """
    requests = {key for key, node in workflow.items() if node["class_type"] == REQUEST_NODE}
    linked = {
        value[1]
        for node in workflow.values()
        for value in node.get("inputs", {}).values()
        if isinstance(value, list) and len(value) == 2 and str(value[0]) in requests
    }
    pictures = {_title(node) for node in workflow.values() if node["class_type"] == "LoadImage"}
    unused = [key for key, outputs in _OUTPUTS.items() if task.get(key) and not linked.intersection(outputs)]
    unused += [key for key in ("seedImage", "maskImage") if task.get(key) and key.lower() not in pictures]
    faults = [
        InvalidInput(
            f"The workflow {name} doesn't use it",
            code="unsupportedParameter",
            parameter=key,
            remedy=f"Add a Load Image node with the title {key} to the workflow, or remove {key} from the task."
            if key.endswith("Image")
            else f"Connect that output of Runware Request in the workflow, or remove {key} from the task.",
        )
        for key in unused
        if key in _NEEDED
    ]
    if faults:
        raise one_or_several(faults)
    return [{"parameter": key, "reason": f"The workflow {name} doesn't use it."} for key in unused]


def _title(node: Mapping[str, Any]) -> str:
    return str((node.get("_meta") or {}).get("title", "")).strip().lower()


def filled(
    workflow: Workflow, task: Mapping[str, Any], seed: int, pictures: Mapping[str, str], checkpoint: str = ""
) -> Workflow:
    """The user's workflow with this task in its Runware Request. `checkpoint` is a file that the task itself names.

    `pictures` maps the task's names ("seedImage", "maskImage") to files. They are set in the Load Image nodes with
    these titles.
    """
    made: Workflow = json.loads(json.dumps(workflow))
    by_title = {name.lower(): file for name, file in pictures.items()}
    for node in made.values():
        inputs = node.setdefault("inputs", {})
        title = _title(node)
        if node["class_type"] == REQUEST_NODE:
            inputs |= {"request": json.dumps({**task, "seed": seed}), "task": 1, "seed": seed}
            if checkpoint:
                inputs["checkpoint"] = checkpoint
        elif node["class_type"] == "LoadImage" and title in by_title:
            inputs["image"] = by_title[title]
    return made


def _own_wrong(path: Path, what: str, remedy: str) -> InvalidInput:
    return InvalidInput(
        f"The workflow {path.name} in user/{OWN_FOLDER} {what}",
        code="invalidWorkflow",
        parameter="model",
        remedy=remedy,
    )


def _plain(name: str) -> str:
    """A normalized name: `civitai:101055@128078` and `civitai-101055-128078` are the same, since no file may have the
    first.
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower().removesuffix(".safetensors")).strip("-")
