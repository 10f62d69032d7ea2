"""An analysis as fields, as sentences, as a picture, and as suggested arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from ...lora_resolver import BlockWeights
from ..patching.analysis import LARGEST_WEIGHT, analyse, even_weights
from ..patching.application import patches_of
from ..pictures.analysis_picture import analysis_picture, percent
from ..pictures.drawing import drawable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from PIL import Image

    from ...lora_resolver import LoraEntry
    from ..patching.analysis import Analysis
    from ..patching.application import Applied
    from .apply import Outcome

COMPETES = 0.3
"""The smallest cosine that the summary mentions. Deltas of unrelated LoRAs are far below 0.1."""


@dataclass(frozen=True)
class AnalysisReport:
    """What the node shows."""

    facts: dict[str, Any]
    summary: str
    picture: Image.Image
    suggestion: tuple[LoraEntry, ...]
    """The array, at weights that make all entries equally strong."""
    by_block: dict[str, dict[str, float]]
    """Identifier → block of the diffusion model → strength there."""
    apart: tuple[LoraEntry, ...]
    """The array with block weights that separate competing entries: each block goes to the one that needs it more."""


def analysis_report(model: Any, clip: Any, entries: Sequence[LoraEntry], outcome: Outcome) -> AnalysisReport:
    """The report for an applied array. `model` and `clip` (which may be None) are those without the array."""
    files = [each for each in outcome.entries if each.fit is not None]
    diffusion = analyse(model, [patches_of(each, text_encoder=False) for each in files])
    encoders = (
        analyse(clip.patcher, [patches_of(each, text_encoder=True) for each in files])
        if clip is not None
        else None
    )
    rows = {row["place"]: row for row in outcome.report["entries"]}
    labels = [rows[each.lora.place]["name"] or rows[each.lora.place]["model"] for each in files]
    names = [drawable(label, rows[each.lora.place]["model"]) for label, each in zip(labels, files)]
    weights = [each.lora.model_strength for each in files]
    suggested = even_weights(diffusion.strengths, weights)
    factors = {
        each.lora.place: new / old if old else 1.0 for each, old, new in zip(files, weights, suggested)
    }
    facts = {
        "checkpoint": outcome.report["checkpoint"],
        "entries": [
            _entry_facts(number, each, rows[each.lora.place], diffusion, encoders, suggested[number])
            for number, each in enumerate(files)
        ],
        "pairs": [
            _pair_facts(files[one].lora.place, files[other].lora.place, one, other, diffusion, encoders)
            for one, other in combinations(range(len(files)), 2)
        ],
    }
    blocks, by_block = _all_blocks(diffusion, encoders)
    return AnalysisReport(
        facts=facts,
        summary=_summary(labels, facts),
        picture=analysis_picture(names, weights, diffusion.strengths, diffusion.cosines, blocks, by_block),
        suggestion=_suggestion(entries, outcome.report["entries"], factors),
        by_block={
            entry["model"]: {
                block.removeprefix("diffusion_model."): strength
                for block, strength in entry["blocks"].items()
            }
            for entry in facts["entries"]
        },
        apart=_apart(entries, outcome.report["entries"], files, diffusion),
    )


def _entry_facts(
    number: int,
    applied: Applied,
    row: Mapping[str, Any],
    diffusion: Analysis,
    encoders: Analysis | None,
    suggested: float,
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "place": applied.lora.place,
        "model": row["model"],
        "name": row["name"],
        "sha256": applied.lora.sha256,
        "weight": applied.lora.model_strength,
        "strength": _digits(diffusion.strengths[number]),
        "weights": diffusion.weights[number],
        "blocks": _of_blocks(diffusion, number),
        "suggested_weight": suggested,
    }
    if encoders is not None and encoders.weights[number]:
        facts["text_encoder"] = {
            "clip_weight": applied.lora.clip_strength,
            "strength": _digits(encoders.strengths[number]),
            "weights": encoders.weights[number],
            "blocks": _of_blocks(encoders, number),
        }
    return facts


def _of_blocks(analysis: Analysis, number: int) -> dict[str, float]:
    return {
        block: _digits(strength) for block, strength in zip(analysis.blocks, analysis.block_strengths[number])
    }


def _pair_facts(
    place: str, other_place: str, one: int, other: int, diffusion: Analysis, encoders: Analysis | None
) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "places": [place, other_place],
        "cosine": round(diffusion.cosines[one][other], 4),
        "common_weights": round(diffusion.common[one][other], 4),
    }
    if encoders is not None and encoders.weights[one] and encoders.weights[other]:
        facts["text_encoder"] = {
            "cosine": round(encoders.cosines[one][other], 4),
            "common_weights": round(encoders.common[one][other], 4),
        }
    return facts


def _all_blocks(
    diffusion: Analysis, encoders: Analysis | None
) -> tuple[tuple[str, ...], list[tuple[float, ...]]]:
    """The model's blocks, followed by the text encoders' blocks."""
    if encoders is None:
        return diffusion.blocks, list(diffusion.block_strengths)
    return (
        (*diffusion.blocks, *encoders.blocks),
        [(*mine, *theirs) for mine, theirs in zip(diffusion.block_strengths, encoders.block_strengths)],
    )


def _suggestion(
    entries: Sequence[LoraEntry], rows: Sequence[Mapping[str, Any]], factors: Mapping[str, float]
) -> tuple[LoraEntry, ...]:
    """Multiplies each entry's weights by its file's factor, so entries of the same file keep their proportion."""
    suggestion = []
    for entry, row in zip(entries, rows):
        factor = factors.get(row.get("joined_with", row["place"]), 1.0)
        suggestion.append(
            entry.with_weight(_within(entry.weight * factor), _within(entry.clip_weight * factor))
        )
    return tuple(suggestion)


def _apart(
    entries: Sequence[LoraEntry],
    rows: Sequence[Mapping[str, Any]],
    files: Sequence[Applied],
    diffusion: Analysis,
) -> tuple[LoraEntry, ...]:
    """Separates each pair of competing entries: the one with less of its own change in a block leaves the block out.

    This compares shares of an entry's whole change. By strength, the weaker entry would lose all blocks. An entry that
    has block weights keeps them.
    """
    left_out: dict[str, dict[str, float]] = {}
    shares = [
        [strength / max(whole, 1e-12) for strength in by_block]
        for whole, by_block in zip(diffusion.strengths, diffusion.block_strengths)
    ]
    for one, other in combinations(range(len(files)), 2):
        if abs(diffusion.cosines[one][other]) < COMPETES:
            continue
        first = files[one].lora.sha256 < files[other].lora.sha256  # so that the array's order doesn't matter
        for number, block in enumerate(diffusion.blocks):
            mine, theirs = shares[one][number], shares[other][number]
            if mine and theirs:
                is_mine = mine > theirs or (mine == theirs and first)
                left_out.setdefault(files[other if is_mine else one].lora.place, {})[
                    block.removeprefix("diffusion_model.")
                ] = 0.0
    apart = []
    for entry, row in zip(entries, rows):
        blocks = left_out.get(row.get("joined_with", row["place"]))
        if blocks and entry.blocks is None:
            entry = replace(entry, blocks=BlockWeights(patterns=tuple(blocks.items())))
        apart.append(entry)
    return tuple(apart)


def _within(weight: float) -> float:
    return float(f"{max(-LARGEST_WEIGHT, min(LARGEST_WEIGHT, weight)):.6g}")


def _summary(labels: Sequence[str], facts: Mapping[str, Any]) -> str:
    if not labels:
        return "No LoRA in this array is enabled."
    lines = [
        f"{number}. {label} at {entry['weight']:g}: {_strength_in_words(entry)}"
        for number, (label, entry) in enumerate(zip(labels, facts["entries"]), start=1)
    ]
    number_of = {entry["place"]: number for number, entry in enumerate(facts["entries"], start=1)}
    lines += [_pair_in_words(pair, number_of) for pair in facts["pairs"] if abs(pair["cosine"]) >= COMPETES]
    if len(labels) > 1 and not any(abs(pair["cosine"]) >= COMPETES for pair in facts["pairs"]):
        lines.append("No pair competes: the changes don't affect each other.")
    changed = [
        f"{number_of[entry['place']]}: {entry['weight']:g} → {entry['suggested_weight']:g}"
        for entry in facts["entries"]
        if entry["suggested_weight"] != entry["weight"]
    ]
    if changed:
        lines.append(f"For equal strength: {', '.join(changed)}.")
    return "\n".join(lines)


def _strength_in_words(entry: Mapping[str, Any]) -> str:
    encoder = entry.get("text_encoder")
    words = (
        f"changes the model's weights by {percent(entry['strength'])}"
        if entry["weights"]
        else "doesn't change the model"
    )
    if encoder:
        words += f", the text encoders' weights by {percent(encoder['strength'])}"
    strongest = max(entry["blocks"], key=entry["blocks"].__getitem__, default=None)
    return f"{words}. Strongest block: {strongest}." if strongest and entry["weights"] else f"{words}."


def _pair_in_words(pair: Mapping[str, Any], number_of: Mapping[str, int]) -> str:
    one, other = (number_of[place] for place in pair["places"])
    cosine = pair["cosine"]
    what = (
        "reinforce each other, so together they're stronger than intended"
        if cosine > 0
        else "work against each other, so each weakens the other"
    )
    return (
        f"{one} and {other} {what} (cosine {cosine:.2f}, {pair['common_weights']:.0%} of weights in common)."
    )


def _digits(value: float) -> float:
    return float(f"{value:.5g}")
