"""Lists the LoRAs of a picture, with their weights, in the only form that CivitAI reads from a ComfyUI picture.

Its reader (civitai/civitai, src/utils/metadata; since August 2026 the package @civitai/generation-metadata) looks for
`LoraLoader` nodes in the prompt and accepts an AIR as a name. It shows the LoRA of that AIR with `strength_model`. So a
saved prompt gets such a node, without links, for each LoRA that had an effect. ComfyUI doesn't run these nodes, and
doesn't show them if the picture contains a workflow. CivitAI would also read `parameters` with "Steps: ", but then it
would ignore the workflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InvalidIdentifier
from ..identifiers import parse_identifier

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["is_for_sites", "strongest_rows", "with_loaders_for_sites"]

TITLE = "AIR LoRA, for CivitAI"
"""Identifies such a node: the page keeps titles when it makes a graph from a prompt."""

_PREFIX = "air_lora_"
_COUNTING = ("applied", "handed on")
"""The status of rows that took part in the picture."""
_LEAST = 0.001
"""Smaller weights are left out, as the site does."""

_ECOSYSTEMS = {
    "sd1": "sd1", "sd2": "sd2", "sd3": "sd3", "sdxl": "sdxl", "kolors": "kolors", "cascade": "scascade",
    "flux1": "flux1", "flux2": "flux2", "chroma": "chroma", "hidream": "hidream", "lumina2": "lumina",
    "qwen_image": "qwen", "qwen_image_2": "qwen2", "z_image": "zimageturbo", "wan_14b": "wanvideo",
    "wan_5b": "wanvideo", "wan_1_3b": "wanvideo1_3b_t2v", "hunyuan_video": "hyv1", "hunyuan_dit": "hydit1",
    "ltxv": "ltxv", "ltx2": "ltxv2", "mochi": "mochi", "pixart": "pixarta", "auraflow": "auraflow", "anima": "anima",
    "ernie_image": "ernie", "krea2": "krea2", "minimax_h3": "minimaxh3", "ace_step": "ace",
}  # fmt: skip
"""Family → CivitAI's word in an AIR. The site uses only the version."""


def with_loaders_for_sites(
    prompt: Mapping[str, Any],
    runs: Mapping[str, Iterable[Mapping[str, Any]]],
    before: Mapping[str, Collection[str]],
) -> dict[str, Any]:
    """The prompt with a node for each LoRA that was applied or passed on.

    `runs` contains the rows of a report for each participating node, `before` the nodes upstream of each node. A file's
    weight is the sum of its weights along a chain of nodes, as in the picture. A file is left out if it has no single
    weight (two branches), or if its name is unknown (another pack's loader chose it).
    """
    of_nodes = {node: _weights_of(rows) for node, rows in runs.items()}
    weights: dict[str, set[tuple[float, float]]] = {}
    for node, own in of_nodes.items():
        for name in own:
            chain = [each for each in of_nodes if name in of_nodes[each] and each in before.get(node, ())]
            is_last = not any(
                name in of_nodes[each] and node in before.get(each, ()) for each in of_nodes if each != node
            )
            if is_last:
                parts = [of_nodes[each][name] for each in (*chain, node)]
                total = (sum(part[0] for part in parts), sum(part[1] for part in parts))
                weights.setdefault(name, set()).add((round(total[0], 6), round(total[1], 6)))
    made = dict(prompt)
    number = 0
    for name, several in weights.items():
        model, clip = next(iter(several))
        if len(several) > 1 or abs(model) < _LEAST:
            continue
        number += 1
        while f"{_PREFIX}{number}" in made:
            number += 1
        made[f"{_PREFIX}{number}"] = {
            "class_type": "LoraLoader",
            "inputs": {"lora_name": name, "strength_model": model, "strength_clip": clip},
            "_meta": {"title": TITLE},
        }
    return made


def strongest_rows(runs: Iterable[Iterable[Mapping[str, Any]]]) -> list[Mapping[str, Any]]:
    """The rows of each file from the run with its strongest weight, for a picture of several runs, such as a sheet."""
    found: dict[str, tuple[float, list[Mapping[str, Any]]]] = {}
    for rows in runs:
        of_files: dict[str, list[Mapping[str, Any]]] = {}
        for row in rows:
            if row.get("status") in _COUNTING and row.get("sha256") and "weight" in row:
                of_files.setdefault(str(row["sha256"]), []).append(row)
        for digest, own in of_files.items():
            weight = abs(sum(float(row["weight"]) for row in own))
            if digest not in found or weight > found[digest][0]:
                found[digest] = (weight, own)
    return [row for _, own in found.values() for row in own]


def _weights_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Name → weights in one run. If the site treats two files as one (High and Low), the stronger one counts."""
    by_file: dict[tuple[str, str], tuple[float, float]] = {}
    for row in rows:
        if row.get("status") in _COUNTING and row.get("sha256") and "weight" in row:
            key = (_name(row), str(row["sha256"]))
            model, clip = by_file.get(key, (0.0, 0.0))
            weight = float(row["weight"])
            by_file[key] = (model + weight, clip + float(row.get("clip_weight", weight)))
    found: dict[str, tuple[float, float]] = {}
    for (name, _), both in by_file.items():
        if name not in found or abs(both[0]) > abs(found[name][0]):
            found[name] = both
    return found


def is_for_sites(node: object) -> bool:
    """Whether it is a node that names a LoRA for a site, not a loader that ran."""
    if not isinstance(node, dict) or node.get("class_type") != "LoraLoader":
        return False
    about, inputs = node.get("_meta"), node.get("inputs")
    is_linked = isinstance(inputs, dict) and any(isinstance(value, list) for value in inputs.values())
    return isinstance(about, dict) and about.get("title") == TITLE and not is_linked


def _name(row: Mapping[str, Any]) -> str:
    """The AIR if CivitAI has the file; otherwise its name, for people to read."""
    for text in (row.get("model"), row.get("published_as")):
        try:
            identifier = parse_identifier(str(text))
        except InvalidIdentifier:
            continue
        if identifier.source == "civitai" and identifier.id and (identifier.version or "").isdecimal():
            families = [_ECOSYSTEMS[each] for each in row.get("architecture", ()) if each in _ECOSYSTEMS]
            ecosystem = next(iter(families), "other")
            return f"urn:air:{ecosystem}:lora:civitai:{identifier.id}@{identifier.version}"
    return str(row.get("file") or row.get("name") or row["model"])
