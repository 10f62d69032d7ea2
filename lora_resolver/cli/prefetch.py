"""`prefetch`: lists and then downloads the LoRAs that arrays, workflows, and pictures need."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import (
    AccessDenied,
    HostedOnly,
    InvalidInput,
    LoraResolverError,
    NotFound,
    Offline,
    VerificationFailed,
)
from ..on_disk.downloads import name_as
from ..records import ResolvedLora
from ..settings.settings_file import user_config
from .bars import Bars
from .output import ERROR_FIELDS, describe, error_fields, size
from .reading import named_in

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ..identifiers import Identifier
    from ..records import PeekedLora
    from ..resolver import Resolver

__all__ = ["add_arguments", "run"]

_HELP = f"""
Reads lora arrays, Runware requests, identifiers, ComfyUI workflows (as saved, or in API format), and files that ComfyUI
saves with an embedded workflow: PNG, WebP, MP4, FLAC, and latents. Disabled LoRAs and LoRAs of weight zero are listed,
but not downloaded. If a workflow says where a file comes from, and CivitAI or Hugging Face has it, the file is
downloaded from there and saved under the name that the loader expects. A node that looks like a LoRA loader but isn't
supported is an error.

--json prints one object:
  dry_run            whether --dry-run was given
  bytes_to_download  total size of all files in state "download", before the download; unknown sizes count as 0
  loras              one object for each distinct identifier:
    identifier    the canonical identifier
    needed        false if it's disabled or of weight zero everywhere
    places        where it's used, such as "pixel.json node 12, lora[1].model"
    state         if it's needed:
                    local        on this disk
                    download     to be downloaded (with --dry-run only)
                    downloaded   just downloaded
                    token        its source requires a token, a different token, or acceptance of terms
                    denied       not available for another reason: early access, or downloads disabled
                    hosted       it runs only on its provider's servers
                    missing      not found
                    offline      not on this disk, and offline mode is on
                    failed       a problem with the network, the disk, or the file; see error
                  otherwise "unneeded"
    path          full path; null if it isn't on this disk
    file_name     its current or future file name
    size          in bytes; null if unknown
    sha256        published by its source, or verified; null if unknown
    families      the matching model families, as `inspect` reports them
    error         null, or why it isn't available, as below
    from_store    true if it came from the shared store (AIR_LORA_STORE)
    warnings      problems that didn't stop the download, such as an unreachable shared store
  errors             what couldn't be read, and where:
{ERROR_FIELDS}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of `prefetch`."""
    describe(parser, _HELP)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--allow-unknown",
        action="store_true",
        help="report unsupported LoRA loaders without failing",
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be downloaded")
    parser.add_argument(
        "--store",
        action="store_true",
        help="also copy files that are already on this disk to the shared store (AIR_LORA_STORE)",
    )
    parser.add_argument(
        "sources",
        metavar="FILE|TEXT|-",
        nargs="+",
        help="a file, an array, an identifier, or - for standard input",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints and downloads what is needed. Returns the exit status: 2 for invalid input, 1 if one isn't available."""
    wanted, errors = _read(arguments.sources)
    allowed = [error for error in errors if arguments.allow_unknown and error.code == "unknownLoader"]
    needed = [each for each in wanted if each.needed]
    if needed:
        from ..resolver import Resolver  # needs an HTTP client, which invalid input doesn't need

        config = user_config()
        if arguments.store and not config.store:
            raise InvalidInput(
                "--store: no shared store is configured",
                code="noStore",
                remedy="Set AIR_LORA_STORE, for example to s3://bucket/loras.",
            )
        resolver = Resolver(config)
        _look(resolver, needed)
    to_download = _bytes_to_download(wanted)
    if not arguments.json:
        _print_errors(errors)
        for each in wanted:
            _print(each)
        if needed:
            _print_sum(wanted, to_download, config.download_dir)
        if not wanted and not errors:
            print("No LoRAs found.")
    if needed and not arguments.dry_run:
        here = [each for each in needed if each.state == "local"]
        coming = [each for each in needed if each.state == "download"]
        _download(resolver, coming, config.download_dir, quiet=arguments.json)
        if arguments.store:
            _share(resolver, here)
        for warning in dict.fromkeys(warning for each in needed for warning in each.warnings):
            print(warning, file=sys.stderr)
    if arguments.json:
        document = {
            "dry_run": arguments.dry_run,
            "bytes_to_download": to_download,
            "loras": [each.report() for each in wanted],
            "errors": [error_fields(error) for error in errors],
        }
        print(json.dumps(document, indent=2))
    if any(isinstance(error, InvalidInput) for error in errors):
        return 2
    return 1 if len(errors) > len(allowed) or any(each.error for each in wanted) else 0


@dataclass
class _Wanted:
    """One identifier, and its result."""

    identifier: Identifier
    places: list[str] = field(default_factory=list)
    needed: bool = False
    state: str = "unneeded"
    peeked: PeekedLora | None = None
    resolved: ResolvedLora | None = None
    error: LoraResolverError | None = None
    not_shared: tuple[str, ...] = ()
    file: str = ""
    """The name under which a workflow's own loader looks for it."""
    sha256: str = ""
    """The SHA-256 of the file, according to a workflow."""
    address: str = ""
    """The file's address according to a workflow, if it isn't one of our sources."""

    @property
    def warnings(self) -> list[str]:
        """Problems that didn't stop the download."""
        return [*(self.resolved.warnings if self.resolved else ()), *self.not_shared]

    def look(self, outcome: PeekedLora | LoraResolverError) -> None:
        """Stores the result of a look at its source."""
        if isinstance(outcome, LoraResolverError):
            self.fail(outcome)
        else:
            self.peeked = outcome
            self.state = "download" if outcome.path is None else "local"

    def fail(self, error: LoraResolverError) -> None:
        """Stores why it isn't available. The error gets the first place that names the identifier."""
        self.state = _state(error)
        if self.address and self.state == "missing":
            remedy = f"Download it from {self.address} (as given in the workflow) to a loras folder."
            error = NotFound(error.message, code=error.code, remedy=remedy)
        self.error = error.at(self.places[0]) if self.places[0] else error

    def take(self, outcome: ResolvedLora | LoraResolverError) -> None:
        """Stores the result of the download."""
        if isinstance(outcome, LoraResolverError):
            self.fail(outcome)
        else:
            self.resolved = outcome
            self.state = "downloaded" if outcome.downloaded else "local"

    @property
    def size(self) -> int | None:
        """Size in bytes, if known."""
        known = self.resolved or self.peeked
        return known.size if known else None

    def report(self) -> dict[str, Any]:
        """The object for `--json`."""
        known = self.resolved or self.peeked
        architecture = known.architecture if known else None
        return {
            "identifier": str(self.identifier),
            "needed": self.needed,
            "places": [place for place in self.places if place],
            "state": self.state,
            "path": str(known.path) if known and known.path else None,
            "file_name": self.peeked.file_name if self.peeked else None,
            "size": self.size,
            "sha256": known.sha256 if known else None,
            "families": list(architecture.families) if architecture else [],
            "from_store": self.resolved.from_store if self.resolved else False,
            "warnings": self.warnings,
            "error": error_fields(self.error),
        }


def _read(sources: Iterable[str]) -> tuple[list[_Wanted], list[LoraResolverError]]:
    """The LoRAs in the sources, each identifier once, in order; and what couldn't be read."""
    wanted: dict[Identifier, _Wanted] = {}
    errors: list[LoraResolverError] = []
    for source in sources:
        found = named_in(source)
        errors += found.errors
        for lora in found.loras:
            each = wanted.setdefault(lora.identifier, _Wanted(lora.identifier))
            each.places.append(lora.place)
            each.needed = each.needed or lora.needed
            each.file, each.address = each.file or lora.file, each.address or lora.address
            each.sha256 = each.sha256 or lora.sha256
    return list(wanted.values()), errors


def _look(resolver: Resolver, needed: Sequence[_Wanted]) -> None:
    with Bars() as bars:
        outcomes = resolver.peek_all([each.identifier for each in needed], on_progress=bars)
    for each, outcome in zip(needed, outcomes):
        each.look(outcome)


def _download(resolver: Resolver, missing: Sequence[_Wanted], folder: Path, *, quiet: bool) -> None:
    if not missing:
        return
    with Bars() as bars:
        outcomes = resolver.resolve_each([each.identifier for each in missing], on_progress=bars)
    for each, outcome in zip(missing, outcomes):
        each.take(outcome)
        if isinstance(outcome, ResolvedLora) and each.file:
            try:
                _check_hash(each, outcome)
                name_as(outcome.path, folder, each.file)
            except LoraResolverError as error:
                each.fail(error)
        if not quiet:
            _print(each)


def _check_hash(wanted: _Wanted, file: ResolvedLora) -> None:
    """Raises VerificationFailed if the workflow expects another file."""
    if wanted.sha256 and file.sha256 != wanted.sha256:
        raise VerificationFailed(
            f"{wanted.identifier} has SHA-256 {file.sha256}, but the workflow expects {wanted.sha256}",
            code="wrongHash",
            remedy="The file at the source has changed. Ask the author of the workflow which file to use.",
        )


def _share(resolver: Resolver, here: Sequence[_Wanted]) -> None:
    with Bars() as bars:
        outcomes = resolver.share([each.identifier for each in here], on_progress=bars)
    for each, outcome in zip(here, outcomes):
        if isinstance(outcome, LoraResolverError):
            each.fail(outcome)
        else:
            each.not_shared = outcome


def _state(error: LoraResolverError) -> str:
    if isinstance(error, AccessDenied):
        return "token" if error.needs_token else "denied"
    kinds = ((HostedOnly, "hosted"), (NotFound, "missing"), (Offline, "offline"))
    return next((state for kind, state in kinds if isinstance(error, kind)), "failed")


def _bytes_to_download(wanted: Iterable[_Wanted]) -> int:
    """The total size. A file with two names is counted once, because it is downloaded once."""
    sizes = {
        each.peeked.sha256 or str(each.identifier): each.peeked.size or 0
        for each in wanted
        if each.state == "download" and each.peeked is not None
    }
    return sum(sizes.values())


_WORDS = {
    "local": "on this disk",
    "download": "to download",
    "downloaded": "downloaded",
    "token": "needs a token",
    "denied": "access denied",
    "hosted": "hosted only",
    "missing": "not found",
    "offline": "offline",
    "failed": "failed",
    "unneeded": "not needed",
}


def _print(each: _Wanted) -> None:
    known = each.resolved or each.peeked
    said = "from the store" if each.resolved and each.resolved.from_store else _WORDS[each.state]
    line = f"{said:14} {each.identifier}"
    if known is not None and known.path is not None:
        line += f"  {known.path}"
    elif each.peeked is not None:
        line += f"  {each.peeked.file_name}, {size(each.peeked.size)}"
    print(line)
    if each.error is not None:
        print(f"{'':14} {each.error}")


def _print_errors(errors: Iterable[LoraResolverError]) -> None:
    for error in errors:
        print(error, file=sys.stderr)


def _print_sum(wanted: Sequence[_Wanted], to_download: int, folder: Path) -> None:
    coming = [each for each in wanted if each.state == "download"]
    if not coming:
        return
    files = "1 file" if len(coming) == 1 else f"{len(coming)} files"
    unknown = sum(each.size is None for each in coming)
    more = f", plus {unknown} of unknown size" if unknown else ""
    print(f"{files} to download to {folder}: {size(to_download)}{more}")
