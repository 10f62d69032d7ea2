"""CivitAI: REST v1, https://developer.civitai.com/site/reference. Its habits live here and nowhere else.

civitai:120096@135931          one version
civitai:120096@135931+555      one file of it
civitai:120096@latest          the newest version, asked for on purpose
sha256:<64 hex>                whatever version has this file
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode, urlsplit

from ..config import KINDS, PICTURE_LEVELS
from ..errors import AccessDenied, LoraResolverError, NotFound, Offline, TransferFailed, VerificationFailed
from ..identifiers.file_choice import agrees, traits_of
from ..identifiers.file_names import is_safetensors
from ..model_file.architecture.base_models import declared_families
from ..on_disk import civitai_json as api
from ..text import setting
from .context import Alias, RemoteFile

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..identifiers import Identifier
    from ..records import FileRecord, LoraRecord
    from ..transfer.transport import Answer
    from .context import SourceContext

__all__ = ["Listing", "listed_versions", "locate", "locate_by_hash", "search"]

LORA_TYPES = frozenset({"LORA", "LoCon", "DoRA"})
"""Model types that add to a checkpoint; LoCon is CivitAI's word for everything that LyCORIS makes."""

MODEL_TYPES = {
    "lora": LORA_TYPES,
    "checkpoint": frozenset({"Checkpoint", "UNet"}),
    "vae": frozenset({"VAE"}),
}
"""Kind of the configuration → model types."""

# Words of CivitAI's `baseModels` for families that are in the table (basemodel.constants.ts in civitai/civitai).
BASE_MODELS = (
    "ACE Audio", "Anima", "AuraFlow", "Chroma", "Ernie", "Flux.1 D", "Flux.1 Kontext", "Flux.1 Krea", "Flux.1 S",
    "Flux.2 D", "Flux.2 Klein 4B", "Flux.2 Klein 4B-base", "Flux.2 Klein 9B", "Flux.2 Klein 9B-base", "HiDream",
    "Hunyuan 1", "Hunyuan Video", "Illustrious", "Kolors", "Krea 2", "LTXV", "LTXV 2.3", "LTXV2", "Lumina",
    "MiniMax H3", "Mochi", "NoobAI", "PixArt E", "PixArt a", "Pony", "Pony V7", "Qwen", "Qwen 2", "SD 1.4", "SD 1.5",
    "SD 1.5 Hyper", "SD 1.5 LCM", "SD 2.0", "SD 2.0 768", "SD 2.1", "SD 2.1 768", "SD 2.1 Unclip", "SD 3", "SD 3.5",
    "SD 3.5 Large", "SD 3.5 Large Turbo", "SD 3.5 Medium", "SDXL 0.9", "SDXL 1.0", "SDXL 1.0 LCM", "SDXL Distilled",
    "SDXL Hyper", "SDXL Lightning", "SDXL Turbo", "Stable Cascade", "Wan Image 2.7", "Wan Video",
    "Wan Video 1.3B t2v", "Wan Video 14B i2v 480p", "Wan Video 14B i2v 720p", "Wan Video 14B t2v",
    "Wan Video 2.2 I2V-A14B", "Wan Video 2.2 T2V-A14B", "Wan Video 2.2 TI2V-5B", "Wan Video 2.5 I2V",
    "Wan Video 2.5 T2V", "Wan Video 2.7", "ZImageBase", "ZImageTurbo",
)  # fmt: skip

TOKEN_PAGE = "/user/account"  # noqa: S105 - the page where a user makes a token


def locate(identifier: Identifier, context: SourceContext) -> RemoteFile | Alias:
    """The file of a version. Raises NotFound, AccessDenied, VerificationFailed or TransferFailed."""
    if identifier.version is None:
        raise _version_missing(identifier, context)
    if identifier.version == "latest":
        return Alias(replace(identifier, version=_newest(identifier, context)))
    version = identifier.version
    try:
        document = _ask(
            context, f"/api/v1/model-versions/{version}", f"CivitAI has no version {version} of a model"
        )
    except NotFound as error:
        raise _with_other_versions(error, identifier, context) from None
    belongs_to = api.model_id(document)
    if belongs_to is None:
        raise TransferFailed(
            f"CivitAI does not say which model version {version} is of",
            code="badAnswer",
            remedy=f"Open {context.config.civitai_url}/api/v1/model-versions/{version} to see what it says, or run it "
            "again later.",
        )
    if identifier.id and belongs_to != identifier.id:
        raise NotFound(
            f"version {version} belongs to CivitAI model {belongs_to}, not to {identifier.id}",
            code="wrongModel",
            remedy=f"If {api.name(document)!r} is what you want, write civitai:{belongs_to}@{version}.",
        )
    return _offer(document, context, asked=identifier)


def locate_by_hash(identifier: Identifier, context: SourceContext) -> RemoteFile:
    """The version that has a file with this SHA-256."""
    digest = identifier.id
    document = _ask(
        context,
        f"/api/v1/model-versions/by-hash/{digest.upper()}",
        f"neither your loras folders nor CivitAI have a file with SHA-256 {digest}",
    )
    return _offer(document, context, asked=identifier, sha256=digest)


@dataclass(frozen=True)
class Listing:
    """One version in a list: what CivitAI says of it, and why it cannot be had, where it says that already."""

    record: LoraRecord
    refused: LoraResolverError | None = None


SORTS = {"relevance": "", "downloads": "Most Downloaded", "newest": "Newest"}
"""How a search is sorted → what the site calls it; it has no word for its own order."""


def search(
    context: SourceContext,
    query: str,
    *,
    families: Collection[str] = (),
    sort: str = "relevance",
    cursor: str | None = None,
    limit: int = 20,
) -> tuple[list[Listing], str | None]:
    """LoRAs that the site finds for some words, each in its newest version for one of `families`, and the cursor for
    the next page. Without families: for anything. `sort` is one of `SORTS`.

    Raises Offline, AccessDenied or TransferFailed.
    """
    wanted = set(families)
    asked: list[tuple[str, str]] = [
        ("limit", str(limit)),
        *(("types", each) for each in sorted(LORA_TYPES, reverse=True)),
    ]
    if query:
        asked.append(("query", query))
    asked.append(("nsfw", "true" if context.config.picture_level > PICTURE_LEVELS["PG13"] else "false"))
    if SORTS[sort]:
        asked.append(("sort", SORTS[sort]))
    if cursor:
        asked.append(("cursor", cursor))
    asked += [("baseModels", each) for each in BASE_MODELS if wanted.intersection(declared_families(each))]
    document = _ask(context, f"/api/v1/models?{urlencode(asked)}", f"CivitAI cannot search for {query!r}")
    found = [
        listing
        for model in api.models(document)
        if (listing := _newest_for(wanted, model, context)) is not None
    ]
    return found, api.next_cursor(document)


def listed_versions(model_id: str, context: SourceContext) -> list[Listing]:
    """Every published version of a model, the newest first. Raises as `search` does, and NotFound."""
    model = _ask(context, f"/api/v1/models/{model_id}", f"CivitAI has no model {model_id}")
    return [_listing(document, context) for document in api.version_documents(model)]


def _newest_for(families: set[str], model: dict[str, Any], context: SourceContext) -> Listing | None:
    for document in api.version_documents(model):
        listing = _listing(document, context)
        if not families or families.intersection(declared_families(listing.record.base_model)):
            return listing
    return None


def _listing(document: dict[str, Any], context: SourceContext) -> Listing:
    record = api.lora_record(document, context.config.civitai_url)
    try:
        _check_kind(document, record, context.config.kind)
        _check_availability(document, record)
    except (AccessDenied, NotFound, VerificationFailed) as error:
        return Listing(record, error)
    return Listing(record)


def _offer(
    document: dict[str, Any], context: SourceContext, *, asked: Identifier, sha256: str | None = None
) -> RemoteFile:
    record = api.lora_record(document, context.config.civitai_url)
    _check_kind(document, record, context.config.kind)
    _check_availability(document, record)
    file = _choose(record, asked, sha256)
    if not is_safetensors(file.name) and file.format != "SafeTensor":
        raise VerificationFailed(
            f"{file.name!r} of {record.identifier} is not a .safetensors file",
            code="notSafetensors",
            remedy="Other formats can run code when they are loaded. Look for a version with a .safetensors file.",
        )
    if file.scan == "Danger":
        raise VerificationFailed(
            f"CivitAI's own scan calls {file.name!r} of {record.identifier} dangerous",
            code="dangerousFile",
            remedy="Do not use it.",
        )
    answers_to = [f"{record.identifier}+{file.id}"] if file.id is not None else []
    if file.primary:
        answers_to.append(record.identifier)
    if asked.choice:
        answers_to.append(f"{record.identifier}?{asked.choice}")
    if file.sha256:
        answers_to.append(f"sha256:{file.sha256}")
    return RemoteFile(
        source="civitai",
        folder=record.identifier.removeprefix("civitai:"),
        record=record,
        file=file,
        identifiers=tuple(answers_to),
        explain=partial(
            _explain, record, has_token=context.transport.has_token(file.url), site=context.config.civitai_url
        ),
    )


def _choose(record: LoraRecord, asked: Identifier, sha256: str | None) -> FileRecord:
    if asked.file_id is not None:
        for file in record.files:
            if file.id == asked.file_id:
                return file
        raise _no_such_file(record, f"{record.identifier} has no file {asked.file_id}")
    if sha256 is not None:
        fitting = [file for file in record.files if file.sha256 == sha256]
    else:
        wanted = traits_of(asked.choice or "")
        models = [file for file in record.files if file.is_model and "type" not in wanted]
        fitting = [file for file in models or record.files if agrees(wanted, dict(file.traits))]
        fitting.sort(key=lambda file: -_matches(file, asked))  # stable: else in the site's order
        if not fitting and record.files:
            raise _no_such_file(record, f"{record.identifier} has no file with {unquote(str(asked.choice))}")
    if fitting:
        best = [
            file
            for file in fitting
            if not asked.choice or _matches(file, asked) == _matches(fitting[0], asked)
        ]
        return next((file for file in best if file.primary), best[0])
    raise NotFound(
        f"{record.identifier} ({record.name}) has no file to download",
        code="noFile",
        remedy=f"Look at {record.page_url}.",
    )


def _matches(file: FileRecord, asked: Identifier) -> int:
    return len(traits_of(asked.choice or "").items() & set(file.traits))


def _no_such_file(record: LoraRecord, message: str) -> NotFound:
    several = len(record.files) > 1
    files = (
        f"+{file.id} {file.name}" + (f" ({', '.join(value for _, value in file.traits)})" if several else "")
        for file in record.files
    )
    return NotFound(message, code="notFound", remedy=f"Its files: {', '.join(files) or 'none'}.")


_MOST_SHOWN = 8


def _check_kind(document: dict[str, Any], record: LoraRecord, wanted: str) -> None:
    kind = api.model_type(document)
    if kind and kind not in MODEL_TYPES[wanted]:
        raise VerificationFailed(
            f"{record.identifier} ({record.name}) is a {kind}, not a {KINDS[wanted]}",
            code="notALora" if wanted == "lora" else "wrongKind",
            remedy=f"Use the identifier of a {KINDS[wanted]}.",
        )


def _check_availability(document: dict[str, Any], record: LoraRecord) -> None:
    mode = api.mode(document)
    if mode == "Archived":
        raise _archived(record)
    if mode == "TakenDown":
        raise NotFound(
            f"{record.identifier} ({record.name}) was taken down from CivitAI",
            code="takenDown",
            remedy="If you have the file, put it in a loras folder and name it local:….",
        )
    usage = document.get("usageControl")
    if usage not in (None, "", "Download"):
        raise _downloads_disabled(record)


def _explain(record: LoraRecord, answer: Answer, *, has_token: bool, site: str) -> LoraResolverError | None:
    """What CivitAI's refusal of a download means (reference/services.md, 3.3)."""
    body = answer.body if isinstance(answer.body, dict) else {}
    said = f"{body.get('error', '')} {body.get('message', '')}".strip()
    if answer.status == 401:
        if "disabled" in said.lower():
            return _downloads_disabled(record)
        if has_token:
            return AccessDenied(
                f"CivitAI does not accept the token for {record.identifier} ({record.name})",
                code="tokenRejected",
                remedy=f"Make a new token at {site}{TOKEN_PAGE} and put it into {setting('CIVITAI_API_TOKEN')}.",
            )
        return AccessDenied(
            f"the creator of {record.identifier} ({record.name}) wants you to be logged in to download it",
            code="loginNeeded",
            remedy=f"Make a token at {site}{TOKEN_PAGE} and put it into {setting('CIVITAI_API_TOKEN')}.",
        )
    if answer.status == 403:
        deadline = body.get("deadline")
        if deadline or "early access" in said.lower():
            until = f" until {str(deadline)[:10]}" if deadline else ""
            return AccessDenied(
                f"{record.identifier} ({record.name}) is in early access{until}",
                code="earlyAccess",
                remedy=f"Buy access at {record.page_url} and fill {setting('CIVITAI_API_TOKEN')}, or wait.",
            )
        return AccessDenied(
            f"CivitAI does not let you download {record.identifier} ({record.name})"
            + (f": {said}" if said else ""),
            code="accessDenied",
            remedy=f"Look at {record.page_url} for what it asks for.",
        )
    if answer.status == 404:
        return _not_found(f"CivitAI no longer has the file of {record.identifier} ({record.name})", site)
    if answer.status == _UNAVAILABLE_FOR_LEGAL_REASONS:
        return _region_blocked(
            f"CivitAI does not give {record.identifier} ({record.name}) to this machine (451)"
        )
    if answer.status == 410:
        return _archived(record)
    return None


def _with_other_versions(error: NotFound, identifier: Identifier, context: SourceContext) -> NotFound:
    """A version that is gone: those that are there are named."""
    if not identifier.id:
        return error
    try:
        name, versions = _versions(identifier, context)
    except LoraResolverError:  # the model is gone too, or cannot be asked for
        return error
    if not versions:
        return error
    named = f" ({name})" if name else ""
    return NotFound(
        f"CivitAI model {identifier.id}{named} has no version {identifier.version} any more, or never had",
        code=error.code,
        remedy=f"It has: {_shown(identifier, versions)}.",
    )


def _newest(identifier: Identifier, context: SourceContext) -> str:
    versions = _versions(identifier, context)[1]
    if not versions:
        raise _not_found(
            f"CivitAI model {identifier.id} has no version that can be had", context.config.civitai_url
        )
    return versions[0][0]


def _version_missing(identifier: Identifier, context: SourceContext) -> NotFound:
    name, versions = _versions(identifier, context)
    return NotFound(
        f"{identifier}{f' ({name})' if name else ''} does not say which version",
        code="versionMissing",
        remedy=f"Write one of: {_shown(identifier, versions)}. "
        f"Or civitai:{identifier.id}@latest for the newest, whatever it is."
        if versions
        else f"Look at {context.config.civitai_url}/models/{identifier.id} for the versions.",
    )


def _shown(identifier: Identifier, versions: list[tuple[str, str]]) -> str:
    found = [
        f"civitai:{identifier.id}@{number}" + (f" ({called})" if called else "")
        for number, called in versions
    ]
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return ", ".join(found[:_MOST_SHOWN]) + more


def _versions(identifier: Identifier, context: SourceContext) -> tuple[str, list[tuple[str, str]]]:
    """The model's name, and its versions with theirs, the newest first; offline, those on this disk."""
    if context.config.offline:
        return "", [(number, "") for number in context.downloads.versions("civitai", identifier.id)]
    model = _ask(context, f"/api/v1/models/{identifier.id}", f"CivitAI has no model {identifier.id}")
    return api.name(model), api.versions(model)


def _ask(context: SourceContext, path: str, missing: str) -> dict[str, Any]:
    if context.config.offline:
        raise Offline(
            "it is not on this disk, and the network is switched off",
            code="offline",
            remedy=f"Switch off {setting('AIR_LORA_OFFLINE')}, or put the file in a loras folder.",
        )
    answer = context.transport.get_json(f"{context.config.civitai_url}{path}")
    if answer.status == 200 and isinstance(answer.body, dict):
        return answer.body
    if answer.status in (400, 404):
        raise _not_found(missing, context.config.civitai_url)
    if answer.status == _UNAVAILABLE_FOR_LEGAL_REASONS:
        raise _region_blocked("CivitAI does not answer this machine (451)")
    if answer.status == 401:
        raise AccessDenied(
            "CivitAI does not accept the token",
            code="tokenRejected",
            remedy=f"Make a new one at {context.config.civitai_url}{TOKEN_PAGE} and put it into "
            f"{setting('CIVITAI_API_TOKEN')}.",
        )
    if answer.status == 403:
        raise AccessDenied(
            "CivitAI does not answer this machine (403)",
            code="accessDenied",
            remedy="It may block your country or your provider. Another network or a mirror may do.",
        )
    raise TransferFailed(
        f"CivitAI answered with status {answer.status}",
        code="badAnswer",
        remedy="Run it again later.",
    )


def _not_found(message: str, site: str) -> NotFound:
    remedy = "Check the numbers. It may also be unpublished, or hidden from you without a token."
    if urlsplit(site).hostname in ("civitai.com", "www.civitai.com"):
        # reference/services.md, 3.5: civitai.com answers for what everybody may see.
        remedy += f" What is for adults is at {ADULT_SITE} alone: set AIR_LORA_CIVITAI_URL to it."
    return NotFound(message, code="notFound", remedy=remedy)


ADULT_SITE = "https://civitai.red"
_UNAVAILABLE_FOR_LEGAL_REASONS = 451  # RFC 7725


def _region_blocked(message: str) -> AccessDenied:
    return AccessDenied(
        message,
        code="regionBlocked",
        remedy="The law where this machine's address is does not allow it, or CivitAI does not serve that region. A "
        "token does not help. If you have the file, put it in a loras folder and name it local:….",
    )


def _archived(record: LoraRecord) -> NotFound:
    return NotFound(
        f"{record.identifier} ({record.name}) is archived on CivitAI and can no longer be downloaded",
        code="archived",
        remedy="If you have the file, put it in a loras folder and name it local:….",
    )


def _downloads_disabled(record: LoraRecord) -> AccessDenied:
    return AccessDenied(
        f"the creator of {record.identifier} ({record.name}) allows its use on CivitAI only, no downloads",
        code="downloadsDisabled",
        remedy="A token does not help. Choose another LoRA.",
    )
