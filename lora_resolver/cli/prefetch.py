"""`prefetch`: what arrays, workflows and pictures need, looked at first and then downloaded."""

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
Reads lora arrays, Runware requests, identifiers, ComfyUI workflows (as saved, or in API format), and what ComfyUI
saves with a workflow inside: PNG, WebP, MP4, FLAC and latents. What is switched off, or of weight zero, is named and
left alone. Where a workflow says where a file comes from, and CivitAI or Hugging Face has it, it is downloaded
from there and put under the name that the loader looks for. A node that looks like a LoRA loader and is not read is an
error.

--json prints one object:
  dry_run            whether --dry-run was given
  bytes_to_download  of what state "download" has, before the download; files of unknown size count nothing
  loras              one object for each distinct identifier:
    identifier    in canonical spelling
    needed        false where every place has it switched off or of weight zero
    places        where it is named, such as "pixel.json node 12, lora[1].model"
    state         of a needed one:
                    local        on this disk
                    download     to be downloaded (--dry-run alone)
                    downloaded   has just been downloaded
                    token        its source wants a token, or another one, or terms to be accepted
                    denied       its source keeps it for other reasons: early access, downloads switched off
                    hosted       it runs on its provider's servers only
                    missing      nothing has this name
                    offline      it is not on disk, and the network may not be used
                    failed       the network, the disk or the file itself; see error
                  and "unneeded" for one that is not needed
    path          where it lies; null where it is not on this disk
    file_name     as it will be called, or is
    size          in bytes; null where it is not known
    sha256        as the source promises it, or as it was verified; null where nobody says
    families      what it was made for, as `inspect` names them
    error         null, or why it cannot be had, as below
    from_store    true where it came from the shared store (AIR_LORA_STORE)
    warnings      what went wrong on the way and did no harm, such as a shared store that was lost
  errors             what could not be read, each at its place:
{ERROR_FIELDS}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `prefetch`."""
    describe(parser, _HELP)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--allow-unknown",
        action="store_true",
        help="name what looks like a LoRA loader and is not read, without failing for it",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be downloaded")
    parser.add_argument(
        "--store",
        action="store_true",
        help="also put what is on this disk already into the shared store (AIR_LORA_STORE)",
    )
    parser.add_argument(
        "sources",
        metavar="FILE|TEXT|-",
        nargs="+",
        help="a file, the array or identifier itself, or - for standard input",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print what is needed, and download it. Returns the exit status: 2 for bad input, 1 where one cannot be had."""
    wanted, errors = _read(arguments.sources)
    allowed = [error for error in errors if arguments.allow_unknown and error.code == "unknownLoader"]
    needed = [each for each in wanted if each.needed]
    if needed:
        from ..resolver import Resolver  # it needs an HTTP client, which bad input does not

        config = user_config()
        if arguments.store and not config.store:
            raise InvalidInput(
                "--store: there is no shared store",
                code="noStore",
                remedy="Set AIR_LORA_STORE, such as s3://bucket/loras.",
            )
        resolver = Resolver(config)
        _look(resolver, needed)
    to_download = _bytes_to_download(wanted)
    if not arguments.json:
        _print_errors(errors)
        for each in wanted:
            _print(each)
        _print_sum(wanted, to_download)
        if not wanted and not errors:
            print("No LoRA is named there.")
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
    """One identifier, and what becomes of it."""

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
    """What a workflow says of the file's content."""
    address: str = ""
    """Where a workflow says that it is, at none of our sources."""

    @property
    def warnings(self) -> list[str]:
        """What went wrong and did no harm here."""
        return [*(self.resolved.warnings if self.resolved else ()), *self.not_shared]

    def look(self, outcome: PeekedLora | LoraResolverError) -> None:
        """Takes up what a look at it brought."""
        if isinstance(outcome, LoraResolverError):
            self.fail(outcome)
        else:
            self.peeked = outcome
            self.state = "download" if outcome.path is None else "local"

    def fail(self, error: LoraResolverError) -> None:
        """Takes up why it cannot be had; the error stands at the first place that names it."""
        self.state = _state(error)
        if self.address and self.state == "missing":
            remedy = f"The workflow says that it is at {self.address}: download it into a loras folder."
            error = NotFound(error.message, code=error.code, remedy=remedy)
        self.error = error.at(self.places[0]) if self.places[0] else error

    def take(self, outcome: ResolvedLora | LoraResolverError) -> None:
        """Takes up what the download brought."""
        if isinstance(outcome, LoraResolverError):
            self.fail(outcome)
        else:
            self.resolved = outcome
            self.state = "downloaded" if outcome.downloaded else "local"

    @property
    def size(self) -> int | None:
        """Bytes, where they are known."""
        known = self.resolved or self.peeked
        return known.size if known else None

    def report(self) -> dict[str, Any]:
        """As `--json` shows it."""
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
    """What the sources name, each identifier once, in their order; and what could not be read."""
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
    """Raises VerificationFailed where the workflow means another file."""
    if wanted.sha256 and file.sha256 != wanted.sha256:
        raise VerificationFailed(
            f"{wanted.identifier} has SHA-256 {file.sha256}, and the workflow says {wanted.sha256}",
            code="wrongHash",
            remedy="The source has another file now. Ask whoever made the workflow which one is meant.",
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
    """One file may be named in two ways; it is downloaded once."""
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
    "denied": "not given out",
    "hosted": "hosted only",
    "missing": "not found",
    "offline": "offline",
    "failed": "failed",
    "unneeded": "switched off",
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


def _print_sum(wanted: Sequence[_Wanted], to_download: int) -> None:
    coming = [each for each in wanted if each.state == "download"]
    if not coming:
        return
    files = "1 file" if len(coming) == 1 else f"{len(coming)} files"
    unknown = sum(each.size is None for each in coming)
    more = f", and {unknown} of unknown size" if unknown else ""
    print(f"{files} to download: {size(to_download)}{more}")
