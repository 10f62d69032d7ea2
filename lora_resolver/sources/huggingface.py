"""Hugging Face: its own library requests the metadata, and our download engine downloads the bytes.

huggingface:org/repo@main/sub/name.safetensors     one file at a branch, tag or commit
huggingface:org/repo@main                          the only .safetensors file of a repository
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
from .model_page import Licence, ModelPage, VersionPage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..identifiers import Identifier
    from ..transfer.transport import Answer
    from .context import SourceContext

__all__ = ["locate", "model_page"]

TOKEN_PAGE = "/settings/tokens"  # noqa: S105 - the page where users create tokens

_LONGEST_FOLDER = 100
"""Bytes of the path inside a repository. With a longer one, the file's path would be too long for Windows."""


_log = logging.getLogger(__name__)


def locate(identifier: Identifier, context: SourceContext) -> RemoteFile | Alias | OnDisk:
    """The file in its repository, or in huggingface_hub's cache on this disk.

    Raises NotFound, AccessDenied, Offline or TransferFailed, and StorageFailed if huggingface_hub isn't installed.
    """
    _check_installed()
    cached = _cached(identifier)
    if cached is not None:
        return OnDisk(cached)
    if context.config.offline:
        raise _offline(identifier)
    hub = _Hub(identifier, context)
    if identifier.path is None:
        path = _only_file(identifier, hub.repository())
        return Alias(replace(identifier, version=identifier.version or "main", path=path))
    return _offer(identifier, context, hub)


def _check_installed() -> None:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise StorageFailed(
            "Downloads from Hugging Face require the package huggingface_hub, which isn't installed",
            code="packageMissing",
            remedy="Run `python -m pip install huggingface_hub` with ComfyUI's Python.",
        )


def _offer(identifier: Identifier, context: SourceContext, hub: _Hub) -> RemoteFile:
    card = _Card(hub)
    about = hub.file()
    # A branch can move, but its current commit can't. Using the commit, all ranges belong to the same file.
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
            # The ETag of a file in LFS or Xet is its SHA-256. For a small file in git itself, it is git's own hash.
            sha256=etag if re.fullmatch(r"[0-9a-f]{64}", etag) else None,
            format="SafeTensor",
            storage_url=_storage_address(about.location, context),
        ),
        identifiers=tuple(answers_to),
        explain=partial(_explain, identifier, context),
    )


_LONGEST_CARD = 200_000


def model_page(identifier: Identifier, record: LoraRecord, context: SourceContext) -> ModelPage:
    """The content of the repository's model card. Raises what `locate` does."""
    repository = _Hub(identifier, context).repository()
    card = repository.card_data.to_dict() if repository.card_data is not None else {}
    licence = card.get("license_name") or card.get("license")
    tags = card.get("tags")
    return ModelPage(
        name=identifier.id,
        description=_card_text(identifier, context),
        creator=identifier.id.partition("/")[0],
        tags=tuple(each for each in tags if isinstance(each, str)) if isinstance(tags, list) else (),
        licence=Licence(name=licence if isinstance(licence, str) else ""),
        versions=(VersionPage(record),),
    )


def _card_text(identifier: Identifier, context: SourceContext) -> str:
    """README.md without its YAML header; empty if there is none, or it isn't available."""
    address = f"{context.config.hf_endpoint}/{identifier.id}/raw/{identifier.version or 'main'}/README.md"
    content = bytearray()
    try:
        with context.transport.open(address) as answer:
            if answer.status != 200:
                return ""
            for chunk in answer.chunks():
                content += chunk
                if len(content) > _LONGEST_CARD:
                    break
    except LoraResolverError:
        return ""
    text = content[:_LONGEST_CARD].decode("utf-8", "replace")
    return re.sub(r"\A---\n.*?\n---\n", "", text, count=1, flags=re.DOTALL).strip()


def _storage_address(location: object, context: SourceContext) -> str:
    """The signed address that the Hub redirects to; empty if the Hub itself serves the file."""
    address = location if isinstance(location, str) else ""
    return "" if address.startswith(context.config.hf_endpoint) else address


class _Card:
    """The model card, requested in parallel with other requests: a peek mostly waits for responses.

    The card is optional, so failures are ignored.
    """

    def __init__(self, hub: _Hub) -> None:
        self._hub = hub
        self._said: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._ask, name="air-lora-card", daemon=True)
        self._thread.start()

    def answer(self) -> dict[str, Any]:
        """Waits for the model card; empty if there is none."""
        self._thread.join()
        return self._said

    def _ask(self) -> None:
        try:
            said: Any = self._hub.repository().card_data
            self._said = said.to_dict() if said is not None else {}
        except Cancelled:
            return  # the waiting thread notices the stop elsewhere
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
            remedy="Other formats can run code when they're loaded. Choose another repository.",
        )
    shown = ", ".join(f"{identifier}/{name}" for name in names[:8])
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    raise NotFound(
        f"{identifier} has {len(names)} .safetensors files, but the identifier doesn't specify one",
        code="fileMissing",
        remedy=f"Use one of: {shown}{more}.",
    )


def _cached(identifier: Identifier) -> Path | None:
    """The file in huggingface_hub's own cache, if another program has put it there."""
    if identifier.path is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(identifier.id, identifier.path, revision=identifier.version)
    return Path(path) if isinstance(path, str) and Path(path).is_file() else None


@dataclass(frozen=True)
class _Hub:
    """Requests to huggingface_hub for one identifier, with its exceptions turned into ours."""

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
            except Exception as error:  # noqa: PERF203 - runs once a second; the exceptions depend on its HTTP client
                explained = self._explained(error)
                passing = isinstance(explained, TransferFailed) and explained.code != "badAnswer"
                if not passing or attempt == config.tries - 1:
                    raise explained from None  # theirs may contain signed addresses
                self.context.transport.pause(attempt)
        raise AssertionError("there is at least one try")

    def _explained(self, error: Exception) -> LoraResolverError:
        from huggingface_hub import errors as theirs

        identifier, context = self.identifier, self.context
        if isinstance(error, theirs.OfflineModeIsEnabled):
            return _offline(identifier, "HF_HUB_OFFLINE is set")
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
                f"{identifier} isn't a valid Hugging Face name",
                code="notFound",
                remedy="Copy the name from the model's page.",
            )
        _log.debug("Hugging Face: %s", type(error).__name__)
        host = context.config.hf_endpoint.partition("://")[2]
        return TransferFailed(
            f"{host} can't be reached ({type(error).__name__})",
            code="connectionFailed",
            remedy="Check your network connection, and HF_ENDPOINT if you use a mirror. Then try again.",
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
            remedy=f"Did you mean {' or '.join(close)}?" if close else "Check the files on its page.",
        )


def _close(path: str, names: Sequence[str]) -> list[str]:
    """Up to three .safetensors files: the same name in other folders first, then similar spellings."""
    names = [name for name in names if is_safetensors(name)]
    last = path.rpartition("/")[2].lower()
    same = [name for name in names if name.rpartition("/")[2].lower() == last]
    return list(dict.fromkeys([*same, *difflib.get_close_matches(path, names, n=3, cutoff=0.5)]))[:3]


def _explain(identifier: Identifier, context: SourceContext, answer: Answer) -> LoraResolverError | None:
    """Explains a refused download. huggingface_hub also uses `X-Error-Code`."""
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
            f"Hugging Face rejected the token for {identifier}",
            code="tokenRejected",
            remedy=f"Create a new token at {context.config.hf_endpoint}{TOKEN_PAGE} and save it in "
            f"{setting('HF_TOKEN')}.",
        )
    if status == 403:
        return _gated(identifier, context)
    if status in (404, 410):
        return NotFound(
            f"Hugging Face no longer has {identifier}",
            code="notFound",
            remedy="Check the files on its page.",
        )
    if status == 429:
        return TransferFailed(
            "Hugging Face rate limit reached (429)",
            code="rateLimited",
            remedy=f"Try again in a few minutes. The limit is higher with a token in {setting('HF_TOKEN')}.",
        )
    if may_pass(status):
        return TransferFailed(
            f"Server error from Hugging Face ({status})",
            code="serverError",
            remedy="Try again later. Interrupted downloads resume.",
        )
    return TransferFailed(
        f"Unexpected response from Hugging Face (status {status})",
        code="badAnswer",
        remedy="Try again later.",
    )


def _gated(identifier: Identifier, context: SourceContext) -> AccessDenied:
    page = f"{context.config.hf_endpoint}/{identifier.id}"
    if context.config.hf_token:
        remedy = f"Request access at {page} with the account that the token belongs to."
    else:
        remedy = (
            f"Request access at {page}. Then create a token at {context.config.hf_endpoint}{TOKEN_PAGE} "
            f"and save it in {setting('HF_TOKEN')}."
        )
    return AccessDenied(
        f"{identifier.id} is gated: its owner grants access on request only", code="gated", remedy=remedy
    )


def _no_repository(identifier: Identifier, context: SourceContext) -> LoraResolverError:
    if context.config.hf_token:
        return NotFound(
            f"Hugging Face has no repository {identifier.id}, or your token doesn't have access to it",
            code="notFound",
            remedy="Check the name and the permissions of your token.",
        )
    return NotFound(
        f"Hugging Face has no repository {identifier.id}, or it's private",
        code="notFound",
        remedy=f"Check the name. If it's private, save a token that has access to it in {setting('HF_TOKEN')}.",
    )


def _no_revision(identifier: Identifier) -> NotFound:
    return NotFound(
        f"{identifier.id} has no branch, tag, or commit {identifier.version}",
        code="notFound",
        remedy="Check the branches on its page. The default branch is usually main.",
    )


def _offline(identifier: Identifier, why: str = "offline mode is on") -> Offline:
    return Offline(
        f"{identifier} isn't on this disk, and {why}",
        code="offline",
        remedy=f"Turn off {setting('AIR_LORA_OFFLINE')}, or put the file in a loras folder."
        if why.startswith("offline")
        else "Unset HF_HUB_OFFLINE, or put the file in a loras folder.",
    )
