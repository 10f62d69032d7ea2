"""Processes a `lora` array, from parsed entries to patched models and a report: resolve, join, apply, report."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ...lora_resolver import (
    LoraEntry,
    LoraResolverError,
    Mismatch,
    declared_otherwise,
    extensions_of,
    one_or_several,
)
from ..patching.application import (
    WeightedLora,
    apply_loras,
    check_before_download,
    loaded_checkpoint,
)
from ..patching.bounded_cache import DEFAULT_LIMIT, set_limit
from ..patching.bypass_choice import DeviceCosts
from ..server.progress import NodeProgress
from ..server.settings import bypass_costs, keep_bypass_cost, kept_bytes, listed_name
from .expert_files import with_files_of_expert
from .lora_stack import resolve_entries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ...lora_resolver import PeekedLora, ResolvedLora
    from ..patching.application import Application, Applied
    from ..patching.fit import Checkpoint
    from .lora_stack import StackEntry

    AnyEntry = LoraEntry | StackEntry

_log = logging.getLogger(__name__)


_WITHOUT_DYNAMIC = (
    "ComfyUI's dynamic VRAM is off for this model, because a LoRA with a schedule has no factors. Its weights are "
    "patched during the run."
)


@dataclass(frozen=True)
class Outcome:
    """What the node returns."""

    model: Any
    clip: Any
    trigger_words: tuple[str, ...]
    report: dict[str, Any]
    entries: tuple[Applied, ...]
    """One for each different file of the array."""


def apply_array(
    model: Any,
    clip: Any,
    entries: Sequence[AnyEntry],
    *,
    skip_mismatches: bool,
    expert: str,
    node_id: str | None,
    apply_as: str = "patch",
    only_entries: bool = False,
) -> Outcome:
    """Finds each active entry's file, checks it against the loaded checkpoint, and adds its deltas.

    `expert` is which half of a dual-expert video model this is: "high", "low", or "both" for any other model.
    `apply_as` is "patch", "bypass" or "auto", as for `apply_loras`; `only_entries` adds nothing to the models.
    Raises LoraResolverError, with the entry's place, before anything is patched.
    """
    started = time.perf_counter()
    set_limit(kept_bytes(DEFAULT_LIMIT))
    wanted = with_files_of_expert(
        [entry for entry in entries if entry.active and _is_for(entry, expert)], expert
    )
    checkpoint = loaded_checkpoint(model, clip)
    outcomes = resolve_entries(
        wanted,
        on_progress=NodeProgress(node_id),
        before_downloads=lambda looked: _check_before_downloads(looked, checkpoint, skip_mismatches),
    )
    files, refused = _sorted_out(wanted, outcomes)
    loras, first = _join([entry for entry in wanted if entry.place in files], files)
    application = apply_loras(
        model,
        clip,
        loras,
        skip_mismatches=skip_mismatches,
        checkpoint=checkpoint,
        apply_as=apply_as,
        costs=DeviceCosts(bypass_costs(), keep_bypass_cost) if apply_as == "auto" else None,
        only_entries=only_entries,
        refused=list(refused.values()),
    )
    if application.lost_dynamic:
        _log.warning("%s", _WITHOUT_DYNAMIC)
    for entry in application.entries:
        if entry.fit is not None and entry.fit.unmatched:
            lost = "; ".join(map(str, entry.fit.left_over))
            _log.warning(
                "%s: %s is only partly loaded. Not loaded: %s", entry.lora.place, entry.lora.name, lost
            )
    return Outcome(
        model=application.model,
        clip=application.clip,
        trigger_words=_trigger_words(wanted, application, files),
        report=_report(entries, files, refused, application, first, expert, time.perf_counter() - started),
        entries=application.entries,
    )


def apply_to_pair(
    high: Any, low: Any, clip: Any, entries: Sequence[AnyEntry], **options: Any
) -> tuple[Outcome, Any]:
    """`apply_array` for both experts of a video model. Returns the first one's outcome, and the second MODEL.

    Each row of the report is for the expert that its entry is for. If an entry is for both, its row is for the first
    expert; its row for the second is in `entries_low`. Only the first expert's entries are applied to CLIP.
    """
    first = apply_array(high, clip, entries, expert="high", **options)
    second = apply_array(low, None, entries, expert="low", **options)
    rows = [
        theirs if entry.transformer == "low" else own
        for entry, own, theirs in zip(entries, first.report["entries"], second.report["entries"])
    ]
    report = {**first.report, "entries": rows, "entries_low": second.report["entries"]}
    factors = sum(each.report.get("bypass_bytes", 0) for each in (first, second))
    if factors:
        report["bypass_bytes"] = factors
    if "bypass" in (first.report["apply_as"], second.report["apply_as"]):
        report["apply_as"] = "bypass"
    words = tuple(dict.fromkeys((*first.trigger_words, *second.trigger_words)))
    return replace(first, report=report, trigger_words=words), second.model


def _check_before_downloads(
    looked: Mapping[str, PeekedLora | LoraResolverError], checkpoint: Checkpoint, skip_mismatches: bool
) -> dict[str, Mismatch]:
    """Place → why the entry doesn't match. Unless mismatches are skipped, raises them, with all other errors."""
    refused: dict[str, Mismatch] = {}
    errors: list[LoraResolverError] = []
    for place, lora in looked.items():
        if isinstance(lora, LoraResolverError):
            errors.append(lora.at(f"{place}.model"))
            continue
        try:
            check_before_download(lora, _called(lora), checkpoint)
        except Mismatch as misfit:
            refused[place] = misfit
            errors.append(misfit.at(place))
    if refused and not skip_mismatches:
        raise one_or_several(errors)
    return refused


def _sorted_out(
    wanted: Sequence[AnyEntry], outcomes: Sequence[ResolvedLora | LoraResolverError]
) -> tuple[dict[str, ResolvedLora], dict[str, Mismatch]]:
    """Place → file, and place → why a file wasn't downloaded because it doesn't match. Raises all other errors."""
    files: dict[str, ResolvedLora] = {}
    refused: dict[str, Mismatch] = {}
    errors: list[LoraResolverError] = []
    for entry, outcome in zip(wanted, outcomes):
        if isinstance(outcome, Mismatch):
            refused[entry.place] = outcome.at(entry.place)
        elif isinstance(outcome, LoraResolverError):
            errors.append(outcome.at(f"{entry.place}.model"))
        else:
            files[entry.place] = outcome
    if errors:
        raise one_or_several(errors)
    return files, refused


def _is_for(entry: AnyEntry, expert: str) -> bool:
    return "both" in (expert, entry.transformer) or entry.transformer == expert


def _join(
    wanted: Sequence[AnyEntry], files: dict[str, ResolvedLora]
) -> tuple[list[WeightedLora], dict[str, str]]:
    """Joins entries that name the same file, even by different identifiers, into one with the summed weight.

    Entries with different schedules or blocks aren't joined. Also returns place → the place of the joined entry.
    """
    joined: dict[Any, WeightedLora] = {}
    first: dict[str, str] = {}
    for entry in wanted:
        file = files[entry.place]
        key = (file.sha256, entry.schedule, entry.blocks)
        before = joined.get(key)
        joined[key] = WeightedLora(
            place=before.place if before else entry.place,
            name=before.name if before else _called(file),
            path=file.path,
            sha256=file.sha256,
            model_strength=entry.weight + (before.model_strength if before else 0.0),
            clip_strength=entry.clip_weight + (before.clip_strength if before else 0.0),
            state=file.state,
            header=file.header,
            schedule=before.schedule.plus(entry.schedule)
            if before and before.schedule and entry.schedule
            else entry.schedule,
            blocks=entry.blocks,
        )
        first[entry.place] = joined[key].place
    return list(joined.values()), first


def _called(file: ResolvedLora | PeekedLora) -> str:
    name = file.record.name if file.record else ""
    return f"{file.identifier} ({name})" if name else str(file.identifier)


def _trigger_words(
    wanted: Sequence[AnyEntry], application: Application, files: dict[str, ResolvedLora]
) -> tuple[str, ...]:
    """The trigger words of the applied entries, each once, in the array's order: those set in the entry, or all."""
    applied = {entry.lora.sha256 for entry in application.entries if entry.fit is not None}
    words: dict[str, None] = {}
    for entry in wanted:
        file = files.get(entry.place)
        if file is not None and file.sha256 in applied:
            own = entry.words
            words.update(dict.fromkeys(file.trigger_words if own is None else own))
    return tuple(words)


def _report(
    entries: Sequence[AnyEntry],
    files: dict[str, ResolvedLora],
    refused: dict[str, Mismatch],
    application: Application,
    first: dict[str, str],
    expert: str,
    seconds: float,
) -> dict[str, Any]:
    """The report: enough to reproduce the picture, without absolute paths or tokens."""
    applied = {entry.lora.place: entry for entry in application.entries}
    beside = dict(zip(applied, application.bypassed))
    rows = []
    for entry in entries:
        row: dict[str, Any] = {
            "place": entry.place,
            "model": str(entry.identifier),
            "weight": entry.weight,
            "clip_weight": entry.clip_weight,
            "transformer": entry.transformer,
            **(
                entry.extensions()
                if isinstance(entry, LoraEntry)
                else extensions_of(entry.schedule, entry.blocks)
            ),
        }
        file = files.get(entry.place)
        if entry.place in refused:
            row |= {"status": "skipped", "downloaded": False, "error": refused[entry.place].as_dict()}
        elif file is None:
            row["status"] = "off" if not entry.active else f"not for the {expert} expert"
        else:
            row |= file_facts(file)
            row |= _fit_facts(entry, applied[first[entry.place]], application.weights)
            how = beside.get(entry.place)
            if how is not None and "joined_with" not in row:
                row |= {"bypassed": how.bypassed, "patched": how.patched}
        rows.append(row)
    return {
        "checkpoint": list(application.families),
        "entries": rows,
        "weights": application.weights,
        "apply_as": "bypass" if application.choice.bypass and application.bypass_bytes else "patch",
        "apply_as_reason": application.choice.reason,
        "peak_extra_bytes": application.peak_extra_bytes,
        **({"weights_over_steps": application.hooked} if application.hooked else {}),
        **({"notes": [_WITHOUT_DYNAMIC]} if application.lost_dynamic else {}),
        **({"bypass_bytes": application.bypass_bytes} if application.bypass_bytes else {}),
        "seconds": round(seconds, 3),
    }


def file_facts(file: ResolvedLora) -> dict[str, Any]:
    """A file's facts for a report, without absolute paths."""
    return {
        "name": file.record.name if file.record else file.path.stem,
        "sha256": file.sha256,
        "file": listed_name(file.path),
        "size": file.size,
        "downloaded": file.downloaded,
        "architecture": list(file.architecture.families),
        "kind": file.architecture.kind,
        "rank": file.architecture.rank,
        "scale": file.architecture.scale,
        "notes": _notes(file),
        "trigger_words": list(file.trigger_words),
        **({"published_as": file.record.identifier} if file.record else {}),
        **({"from_store": True} if file.from_store else {}),
        **({"warnings": list(file.warnings)} if file.warnings else {}),
    }


def _notes(file: ResolvedLora) -> list[str]:
    declared = declared_otherwise(file.record.base_model if file.record else "", file.architecture.families)
    return [*file.architecture.notes, *filter(None, [declared])]


def _fit_facts(entry: AnyEntry, applied: Applied, all_weights: int) -> dict[str, Any]:
    if applied.skipped is not None:
        return {"status": "skipped", "error": applied.skipped.as_dict()}
    fit = applied.fit
    facts: dict[str, Any] = {"status": "applied"}
    if applied.lora.place != entry.place:
        facts["joined_with"] = applied.lora.place
    if fit is not None:
        facts |= {
            "verdict": fit.verdict,
            "keys_matched": fit.matched,
            "keys_unmatched": len(fit.unmatched),
            "text_encoder_keys_without_clip": fit.without_clip,
            **({"not_loaded": [each.as_dict() for each in fit.left_over]} if fit.left_over else {}),
            **({"widened": list(fit.widened)} if fit.widened else {}),
            "weights": applied.weights,
            "share": round(applied.weights / all_weights, 3) if all_weights else 0.0,
            "seconds": round(applied.seconds, 3),
        }
    return facts
