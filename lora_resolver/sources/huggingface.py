"""Hugging Face, through its own library for what is asked, through our download engine for the bytes.

huggingface:org/repo@main/sub/name.safetensors     one file at a branch, tag or commit
huggingface:org/repo@main                          the one .safetensors file of a repository that has no other
"""

from __future__ import annotations

import difflib
import importlib.util
import logging
import re
import threading
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AccessDenied, LoraResolverError, NotFound, Offline, StorageFailed, TransferFailed
from ..identifiers.file_names import is_safetensors, short_name
from ..records import FileRecord, LoraRecord
from ..text import setting
from ..transfer.log_privacy import queries_hidden
from ..transfer.tasks import Cancelled
from ..transfer.transport import may_pass
from .context import Alias, OnDisk, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..identifiers import Identifier
    from ..transfer.transport import Answer
    from .context import SourceContext

__all__ = ["locate"]

TOKEN_PAGE = "/settings/tokens"  # noqa: S105 - the page where a user makes a token

_LONGEST_FOLDER = 100
"""Bytes of the path inside a repository; below a longer one, Windows would have no room for the file."""


_log = logging.getLogger(__name__)


def locate(identifier: Identifier, context: SourceContext) -> RemoteFile | Alias | OnDisk:
    """The file in its repository, or in the cache that huggingface_hub keeps on this disk.

    Raises NotFound, AccessDenied, Offline or TransferFailed, and StorageFailed where huggingface_hub is not installed.
    """
    _check_installed()
    cached = _cached(identifier)
    if cached is not None:
        return OnDisk(cached)
    if context.config.offline:
        raise _offline()
    hub = _Hub(identifier, context)
    if identifier.path is None:
        path = _only_file(identifier, hub.repository())
        return Alias(replace(identifier, version=identifier.version or "main", path=path))
    return _offer(identifier, context, hub)


def _check_installed() -> None:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise StorageFailed(
            "downloads from Hugging Face need the package huggingface_hub, which is not installed",
            code="packageMissing",
            remedy="Run: pip install huggingface_hub",
        )


def _offer(identifier: Identifier, context: SourceContext, hub: _Hub) -> RemoteFile:
    card = _Card(hub)
    about = hub.file()
    # A branch moves; the commit that it stands for now does not, so all ranges are of the same file.
    commit = about.commit_hash if re.fullmatch(r"[0-9a-f]{40}", str(about.commit_hash)) else None
    url = hub.address(commit or identifier.version)
    etag = str(about.etag or "").lower()
    path = str(identifier.path)
    inside = path.rpartition("/")[0]
    if len(inside.encode()) > _LONGEST_FOLDER:
        inside = short_name(inside.replace("/", "+"), _LONGEST_FOLDER)
    answers_to = [str(identifier)]
    if commit is not None and commit != identifier.version:
        answers_to.append(str(replace(identifier, version=commit)))
    return RemoteFile(
        source="huggingface",
        folder="/".join(filter(None, [f"{identifier.id}@{identifier.version}", inside])),
        record=_record(identifier, context, card.answer()),
        file=FileRecord(
            name=path.rpartition("/")[2],
            url=url,
            size=about.size,
            # The ETag of a file in LFS or Xet is its SHA-256; of a small one in git itself, it is git's own hash.
            sha256=etag if re.fullmatch(r"[0-9a-f]{64}", etag) else None,
            format="SafeTensor",
            storage_url=_storage_address(about.location, context),
        ),
        identifiers=tuple(answers_to),
        explain=partial(_explain, identifier, context),
    )


def _storage_address(location: object, context: SourceContext) -> str:
    """The signed address that the Hub would send us to; empty where the file lies in the Hub itself."""
    address = location if isinstance(location, str) else ""
    return "" if address.startswith(context.config.hf_endpoint) else address


class _Card:
    """What the model card says, asked for beside what else is asked: a peek is mostly waiting for answers.

    It is nice to have, so whatever goes wrong with it is no error.
    """

    def __init__(self, hub: _Hub) -> None:
        self._hub = hub
        self._said: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._ask, name="air-lora-card", daemon=True)
        self._thread.start()

    def answer(self) -> dict[str, Any]:
        """Waits for it; empty where there is none."""
        self._thread.join()
        return self._said

    def _ask(self) -> None:
        try:
            said: Any = self._hub.repository().card_data
            self._said = said.to_dict() if said is not None else {}
        except Cancelled:
            return  # whoever waits for the card is told by what else it does
        except LoraResolverError as error:
            _log.debug("no model card for %s: %s", self._hub.identifier.id, error.code)


def _record(identifier: Identifier, context: SourceContext, card: dict[str, Any]) -> LoraRecord:
    base = card.get("base_model")
    base = next(iter(base), "") if isinstance(base, list) else base
    prompt = card.get("instance_prompt")
    return LoraRecord(
        identifier=str(identifier),
        name=identifier.id,
        version_name=str(identifier.version),
        base_model=base if isinstance(base, str) else "",
        trigger_words=(prompt.strip(),) if isinstance(prompt, str) and prompt.strip() else (),
        page_url=f"{context.config.hf_endpoint}/{identifier.id}",
    )


def _only_file(identifier: Identifier, repository: Any) -> str:
    names = sorted(
        name
        for name in (str(getattr(each, "rfilename", "")) for each in repository.siblings or ())
        if is_safetensors(name)
    )
    if len(names) == 1:
        return names[0]
    if not names:
        raise NotFound(
            f"{identifier} has no .safetensors file",
            code="noFile",
            remedy="Other formats can run code when they are loaded. Look for another repository.",
        )
    shown = ", ".join(f"{identifier}/{name}" for name in names[:8])
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    raise NotFound(
        f"{identifier} has {len(names)} .safetensors files, and does not say which",
        code="fileMissing",
        remedy=f"Write one of: {shown}{more}.",
    )


def _cached(identifier: Identifier) -> Path | None:
    """The file in huggingface_hub's own cache, where another program has put it."""
    if identifier.path is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(identifier.id, identifier.path, revision=identifier.version)
    return Path(path) if isinstance(path, str) and Path(path).is_file() else None


@dataclass(frozen=True)
class _Hub:
    """Questions to huggingface_hub about one identifier, with its exceptions turned into ours."""

    identifier: Identifier
    context: SourceContext

    def address(self, revision: str | None) -> str:
        from huggingface_hub import hf_hub_url

        config = self.context.config
        path = str(self.identifier.path)
        return str(hf_hub_url(self.identifier.id, path, revision=revision, endpoint=config.hf_endpoint))

    def file(self) -> Any:
        """Commit, size and ETag of the file (huggingface_hub.HfFileMetadata)."""
        from huggingface_hub import get_hf_file_metadata

        config = self.context.config
        url = self.address(self.identifier.version)
        return self._asked(
            lambda: get_hf_file_metadata(url, token=config.hf_token or False, timeout=config.connect_timeout)
        )

    def repository(self) -> Any:
        """Files and model card of the repository (huggingface_hub.ModelInfo)."""
        from huggingface_hub import HfApi

        config = self.context.config
        hub = HfApi(endpoint=config.hf_endpoint, token=config.hf_token or False)
        return self._asked(
            lambda: hub.model_info(
                self.identifier.id, revision=self.identifier.version, timeout=config.connect_timeout
            )
        )

    def _asked(self, question: Callable[[], Any]) -> Any:
        config = self.context.config
        for attempt in range(config.tries):
            try:
                with queries_hidden():
                    return question()
            except Exception as error:  # noqa: PERF203 - once a second; and what it raises changes with its HTTP client
                explained = self._explained(error)
                passing = isinstance(explained, TransferFailed) and explained.code != "badAnswer"
                if not passing or attempt == config.tries - 1:
                    raise explained from None  # theirs may show addresses with signatures
                self.context.transport.pause(attempt)
        raise AssertionError("there is at least one try")

    def _explained(self, error: Exception) -> LoraResolverError:
        from huggingface_hub import errors as theirs

        identifier, context = self.identifier, self.context
        if isinstance(error, theirs.OfflineModeIsEnabled):
            return _offline("HF_HUB_OFFLINE is set")
        status = getattr(getattr(error, "response", None), "status_code", None)
        if isinstance(error, theirs.GatedRepoError):
            return _gated(identifier, context)
        if isinstance(error, theirs.RevisionNotFoundError):
            return _no_revision(identifier)
        if isinstance(error, theirs.RepositoryNotFoundError):
            return _no_repository(identifier, context)
        if isinstance(error, theirs.EntryNotFoundError):
            return self._no_file()
        if status is not None:
            return _refused(identifier, context, status)
        if isinstance(error, ValueError) and not isinstance(error, OSError):
            return NotFound(
                f"{identifier} is not a name that Hugging Face can have",
                code="notFound",
                remedy="Copy it from the page of the model.",
            )
        _log.debug("Hugging Face: %s", type(error).__name__)
        host = context.config.hf_endpoint.partition("://")[2]
        return TransferFailed(
            f"{host} cannot be reached ({type(error).__name__})",
            code="connectionFailed",
            remedy="Check the connection, and HF_ENDPOINT if you use a mirror, and run it again.",
        )

    def _no_file(self) -> NotFound:
        identifier = self.identifier
        try:
            names = [str(each.rfilename) for each in self.repository().siblings or ()]
        except LoraResolverError:
            names = []
        close = _close(str(identifier.path), names)
        return NotFound(
            f"{identifier.id} has no file {identifier.path} at {identifier.version}",
            code="notFound",
            remedy=f"Did you mean {' or '.join(close)}?" if close else "Look at the files on its page.",
        )


def _close(path: str, names: Sequence[str]) -> list[str]:
    """Up to three .safetensors files: the same name in another folder first, then small slips."""
    names = [name for name in names if is_safetensors(name)]
    last = path.rpartition("/")[2].lower()
    same = [name for name in names if name.rpartition("/")[2].lower() == last]
    return list(dict.fromkeys([*same, *difflib.get_close_matches(path, names, n=3, cutoff=0.5)]))[:3]


def _explain(identifier: Identifier, context: SourceContext, answer: Answer) -> LoraResolverError | None:
    """What a refused download means; `X-Error-Code` is what huggingface_hub goes by too."""
    code = answer.headers.get("x-error-code", "")
    if code == "GatedRepo":
        return _gated(identifier, context)
    if code == "RepoNotFound":
        return _no_repository(identifier, context)
    if code == "RevisionNotFound":
        return _no_revision(identifier)
    if may_pass(answer.status):
        return None
    return _refused(identifier, context, answer.status)


def _refused(identifier: Identifier, context: SourceContext, status: int) -> LoraResolverError:
    if status == 401:
        if not context.config.hf_token:
            return _no_repository(identifier, context)
        return AccessDenied(
            f"Hugging Face does not accept the token for {identifier}",
            code="tokenRejected",
            remedy=f"Make a new one at {context.config.hf_endpoint}{TOKEN_PAGE} and put it into {setting('HF_TOKEN')}.",
        )
    if status == 403:
        return _gated(identifier, context)
    if status in (404, 410):
        return NotFound(
            f"Hugging Face no longer has {identifier}",
            code="notFound",
            remedy="Look at the files on its page.",
        )
    if status == 429:
        return TransferFailed(
            "Hugging Face says that we ask too often (429)",
            code="rateLimited",
            remedy=f"Run it again in some minutes; with {setting('HF_TOKEN')}, the limit is higher.",
        )
    if may_pass(status):
        return TransferFailed(
            f"Hugging Face has a problem of its own (status {status})",
            code="serverError",
            remedy="Run it again later; what was downloaded is kept.",
        )
    return TransferFailed(
        f"Hugging Face answered with status {status}", code="badAnswer", remedy="Run it again later."
    )


def _gated(identifier: Identifier, context: SourceContext) -> AccessDenied:
    page = f"{context.config.hf_endpoint}/{identifier.id}"
    if context.config.hf_token:
        remedy = f"Ask for access at {page} with the account that the token belongs to."
    else:
        remedy = (
            f"Ask for access at {page}, then make a token at {context.config.hf_endpoint}{TOKEN_PAGE} "
            f"and put it into {setting('HF_TOKEN')}."
        )
    return AccessDenied(
        f"{identifier.id} is gated: its owner gives access on request only", code="gated", remedy=remedy
    )


def _no_repository(identifier: Identifier, context: SourceContext) -> LoraResolverError:
    if context.config.hf_token:
        return NotFound(
            f"Hugging Face has no repository {identifier.id}, or your token may not see it",
            code="notFound",
            remedy="Check the name, and what the token may read.",
        )
    return NotFound(
        f"Hugging Face has no repository {identifier.id}, or it is private",
        code="notFound",
        remedy=f"Check the name. If it is private, put a token of its owner into {setting('HF_TOKEN')}.",
    )


def _no_revision(identifier: Identifier) -> NotFound:
    return NotFound(
        f"{identifier.id} has no branch, tag or commit {identifier.version}",
        code="notFound",
        remedy="Look at the branches on its page; the usual one is main.",
    )


def _offline(why: str = "the network is switched off") -> Offline:
    return Offline(
        f"it is not on this disk, and {why}",
        code="offline",
        remedy=f"Switch off {setting('AIR_LORA_OFFLINE')}, or put the file in a loras folder."
        if why.startswith("the")
        else "Unset it, or put the file in a loras folder.",
    )
