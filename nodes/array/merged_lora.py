"""Saves an array as one LoRA file in ComfyUI's `loras` folder. The file's metadata lists its sources."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import comfy.utils
from safetensors.torch import save_file

from ...lora_resolver import InvalidInput
from ..patching.application import patches_of
from ..patching.loaded_model import diffusion_weights, text_encoder_weights
from ..patching.merging import DTYPES, Merged, merge
from ..server.saved_loras import new_lora_file

if TYPE_CHECKING:
    from pathlib import Path

    from .apply import Outcome

# Family ID → its name in Stability AI's ModelSpec 1.0.0; for other families, the ID itself is written.
_MODELSPEC = {
    "sd1": "stable-diffusion-v1",
    "sd2": "stable-diffusion-v2-768-v",
    "sdxl": "stable-diffusion-xl-v1-base",
    "sd3": "stable-diffusion-v3-medium",
    "flux1": "flux-1-dev",
}
# The same names for tools that read kohya's metadata.
_KOHYA = {"sd1": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0", "sd3": "sd3", "flux1": "flux1"}


@dataclass(frozen=True)
class SavedLora:
    """The saved file and its report."""

    path: Path
    report: dict[str, Any]


def save_merged(
    model: Any,
    clip: Any,
    outcome: Outcome,
    *,
    file_name: str,
    if_exists: str,
    rank: int | None,
    precision: str,
    node_id: str | None,
) -> SavedLora:
    """Saves an applied array; `model` and `clip` (which may be None) are those without the array.

    Block weights are included in the saved tensors. Raises InvalidInput with code `nothingToSave` if no entry changes
    anything, and with code `scheduleInWeights` if an entry has a schedule. Also raises the errors of `merge` and
    `new_lora_file`.
    """
    scheduled = [each.lora for each in outcome.entries if each.lora.schedule is not None]
    if scheduled:
        raise InvalidInput(
            f"{scheduled[0].name} has a schedule, which can't be saved in a file",
            code="scheduleInWeights",
            parameter=scheduled[0].place,
            remedy="Give it a single weight, without start and end.",
        )
    files = [each for each in outcome.entries if each.weights]
    if not files:
        raise InvalidInput(
            "No LoRA in this array changes anything, so there's nothing to save",
            code="nothingToSave",
            parameter="lora",
            remedy="Enable a LoRA, or set its weight to a value other than 0.",
        )
    merged = _merge(model, clip, outcome, rank, precision, node_id)
    sources = _sources(outcome)
    with new_lora_file(file_name, if_exists) as target:
        save_file(merged.tensors, target.temporary, _metadata(target.path.stem, outcome, sources, merged))
    size = target.path.stat().st_size
    return SavedLora(
        path=target.path,
        report={
            "file": target.listed,
            "size": size,
            "weights": merged.weights,
            "rank": merged.rank,
            "exact": rank is None,
            "error": float(f"{merged.error:.4g}"),
            "full_differences": merged.full_differences,
            "precision": precision,
            "sources": sources,
        },
    )


def _merge(
    model: Any, clip: Any, outcome: Outcome, rank: int | None, precision: str, node_id: str | None
) -> Merged:
    sides = [(model, diffusion_weights(model), False)]
    if clip is not None:
        sides.append((clip.patcher, text_encoder_weights(clip), True))
    total = outcome.report["weights"]
    progress = comfy.utils.ProgressBar(total, node_id=node_id)
    merged = Merged()
    for patcher, weights, text_encoder in sides:
        entries = [patches_of(each, text_encoder=text_encoder) for each in outcome.entries]
        merged.add(
            merge(
                patcher,
                weights,
                entries,
                rank=rank,
                dtype=DTYPES[precision],
                on_weight=lambda: progress.update(1),
            )
        )
    return merged


def _sources(outcome: Outcome) -> list[dict[str, Any]]:
    return [
        {
            key: row[key]
            for key in ("model", "name", "sha256", "weight", "clip_weight", "blocks")
            if key in row
        }
        for row in outcome.report["entries"]
        if row.get("status") == "applied"
    ]


def _metadata(title: str, outcome: Outcome, sources: list[dict[str, Any]], merged: Merged) -> dict[str, str]:
    """The file's metadata. All values are text, as the format requires. https://github.com/Stability-AI/ModelSpec"""
    family = next(iter(outcome.report["checkpoint"]), "unknown")
    made_of = ", ".join(f"{source['model']} × {source['weight']:g}" for source in sources)
    metadata = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": f"{_MODELSPEC.get(family, family)}/lora",
        "modelspec.implementation": "https://github.com/comfyanonymous/ComfyUI",
        "modelspec.title": title,
        "modelspec.date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "modelspec.description": f"Merged from {made_of}",
        "air_lora.sources": json.dumps(sources, ensure_ascii=False),
        "air_lora.error": f"{merged.error:.4g}",
    }
    if family in _KOHYA:
        metadata["ss_base_model_version"] = _KOHYA[family]
    if outcome.trigger_words:
        metadata["modelspec.trigger_phrase"] = ", ".join(outcome.trigger_words)
    return metadata
