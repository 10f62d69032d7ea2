"""`migrate`: converts the rows of other packs' loaders to arrays, one for each model that the loaders act on."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..array.lora_array import LoraEntry, format_lora_array
from ..errors import InvalidInput
from ..identifiers import parse_identifier
from ..settings.settings_file import user_config
from .output import ERROR_FIELDS, describe, error_fields
from .reading import named_in

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Sequence

    from ..config import ResolverConfig
    from ..workflows.loader_chains import LoaderChain
    from ..workflows.named_loras import NamedLora, NamedLoras

__all__ = ["add_arguments", "run"]

_HELP = f"""
Reads rgthree's Power Lora Loader and Lora Loader Stack, Lora Manager's loaders and stackers, the stackers of Comfyroll,
Efficiency Nodes and Easy-Use, ComfyUI's own loaders, and this pack's nodes. A chain of loaders becomes one array.
Loaders on separate models (as for Wan 2.2) become separate arrays. Muted and bypassed nodes are skipped. Disabled rows
stay disabled.

--json prints a list with one object for each array:
  file       the file name, as given
  nodes      ids of the loaders
  kinds      classes of the loaders
  entries    the entries of the array
  errors     what couldn't be read there, or anywhere in the file:
{ERROR_FIELDS}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `migrate`."""
    describe(parser, _HELP)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--loras",
        metavar="FOLDER",
        action="append",
        default=[],
        help="a loras folder to search for names without a folder; can be repeated (default: AIR_LORA_DIR)",
    )
    parser.add_argument(
        "--air",
        action="store_true",
        help="use CivitAI and Hugging Face identifiers where a sidecar file or an earlier download provides them, "
        "so that the array works on every computer",
    )
    parser.add_argument(
        "--allow-unknown",
        action="store_true",
        help="report unsupported LoRA loaders without failing",
    )
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a workflow, or an image saved by ComfyUI; - for standard input",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the arrays. Returns the exit status: 1 if something couldn't be read."""
    config = _config(arguments.loras)
    renamed = _named_by_source(config) if arguments.air else tuple
    reports = [report for file in arguments.files for report in _reports(file, config, renamed)]
    if arguments.json:
        shown = [
            {key: report[key] for key in ("file", "nodes", "kinds", "entries", "errors")}
            for report in reports
        ]
        print(json.dumps(shown, indent=2, ensure_ascii=False))
    else:
        for report in reports:
            _print(report, several=len(reports) > 1)
    faults = [error for report in reports for error in report["errors"]]
    if any(error["code"] in _BAD_INPUT for error in faults):
        return 2
    return (
        1 if any(not arguments.allow_unknown or error["code"] != "unknownLoader" for error in faults) else 0
    )


_BAD_INPUT = frozenset(
    {"invalidJson", "jsonTooDeep", "inputTooLarge", "unreadableInput", "noWorkflow", "workflowTooLarge"}
)
"""Codes of errors that concern the file as a whole."""


def _config(folders: Sequence[str]) -> ResolverConfig:
    config = user_config()
    if not folders:
        return config
    paths = [Path(folder).expanduser() for folder in folders]
    for path in paths:
        if not path.is_dir():
            raise InvalidInput(
                f"No folder {str(path)!r}",
                code="unreadableInput",
                parameter="--loras",
                remedy="Specify the loras folder of your ComfyUI.",
            )
    return replace(config, download_dir=paths[0], search_dirs=tuple(paths))


def _reports(
    file: str, config: ResolverConfig, renamed: Callable[[Sequence[NamedLora]], Sequence[NamedLora]]
) -> list[dict[str, Any]]:
    from ..sources.local import list_names

    named = named_in(file, lambda: sorted(set(list_names(config.search_dirs))))
    errors = list(named.errors)
    reports = []
    for chain, loras in _by_chain(named):
        entries, faults = _entries(renamed(loras))
        reports.append(_report(file, chain, entries, [*errors, *faults]))
        errors = []
    return reports or [_report(file, None, [], errors)]


def _entries(loras: Sequence[NamedLora]) -> tuple[list[LoraEntry], list[InvalidInput]]:
    """The entries, and errors for what an array can't contain: strengths outside its range."""
    entries: list[LoraEntry] = []
    faults: list[InvalidInput] = []
    for each in loras:
        outcome = _entry(each)
        if isinstance(outcome, InvalidInput):
            faults.append(outcome)
        else:
            entries.append(outcome)
    return entries, faults


def _entry(named: NamedLora) -> LoraEntry | InvalidInput:
    if not named.weight_known:
        fault = InvalidInput(
            f"{named.identifier}: the strength is computed by another node when the workflow runs",
            code="computedWeight",
            remedy="Enter the strength in the loader, then run this command again.",
        )
        return fault.at(named.place)
    try:
        return named.entry()
    except InvalidInput as error:
        fault = InvalidInput(f"{named.identifier}: {error.message}", code=error.code, remedy=error.remedy)
        return fault.at(named.place)


def _by_chain(named: NamedLoras) -> Iterable[tuple[LoaderChain | None, list[NamedLora]]]:
    by_node: dict[str, list[NamedLora]] = {}
    for lora in named.loras:
        by_node.setdefault(lora.node, []).append(lora)
    for chain in named.chains:
        yield chain, [lora for node in chain.nodes for lora in by_node.get(node, ())]
    told = {node for chain in named.chains for node in chain.nodes}
    others = [
        lora for lora in named.loras if lora.node not in told
    ]  # LoRAs that aren't from a workflow: an array, a list
    if others:
        yield None, others


def _named_by_source(config: ResolverConfig) -> Callable[[Sequence[NamedLora]], Sequence[NamedLora]]:
    from ..resolver import Resolver  # needs an HTTP client, which reading a workflow doesn't need

    resolver = Resolver(config)

    def rename(loras: Sequence[NamedLora]) -> Sequence[NamedLora]:
        files = resolver.local_files([each.identifier for each in loras])
        return [
            replace(each, identifier=parse_identifier(file.identifiers[0]))
            if file and file.identifiers
            else each
            for each, file in zip(loras, files)
        ]

    return rename


def _report(
    file: str, chain: LoaderChain | None, entries: Sequence[LoraEntry], errors: Sequence[Any]
) -> dict[str, Any]:
    return {
        "file": file,
        "nodes": list(chain.nodes) if chain else [],
        "kinds": list(chain.kinds) if chain else [],
        "entries": [entry.facts() for entry in entries],
        "errors": [error_fields(error) for error in errors],
        "array": format_lora_array(entries),
    }


def _print(report: dict[str, Any], *, several: bool) -> None:
    for error in report["errors"]:
        print(error["text"], file=sys.stderr)
    if several:
        loaders = ", ".join(f"{kind}, node {node}" for kind, node in zip(report["kinds"], report["nodes"]))
        print(f"{report['file']}{f' ({loaders})' if loaders else ''}:")
    if report["entries"] or not report["errors"]:
        print(report["array"])
