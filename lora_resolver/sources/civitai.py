"""CivitAI: REST v1, https://developer.civitai.com/site/reference. Only this module knows its peculiarities.

civitai:120096@135931          one version
civitai:120096@135931+555      one file of it
civitai:120096@latest          the newest version, requested explicitly
sha256:<64 hex>                the version that has this file
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

from ..config import KINDS, PICTURE_LEVELS
from ..errors import AccessDenied, LoraResolverError, NotFound, Offline, TransferFailed, VerificationFailed
from ..identifiers.file_choice import agrees, traits_of
from ..identifiers.file_names import is_safetensors
from ..model_file.architecture.base_models import declared_families
from ..on_disk import civitai_json as api
from ..text import setting
from ..transfer.tasks import Cancelled
from .civitai_base_models import BASE_MODELS
from .civitai_refusals import (
    TOKEN_PAGE,
    UNAVAILABLE_FOR_LEGAL_REASONS,
    archived,
    downloads_disabled,
    explain,
    not_found,
    region_blocked,
)
from .context import Alias, RemoteFile
from .model_page import Licence, ModelPage, VersionPage, text_of_html

if TYPE_CHECKING:
    from collections.abc import Collection

    from ..identifiers import Identifier
    from ..model_file.suggested_weight import SuggestedWeight
    from ..records import FileRecord, LoraRecord
    from .context import SourceContext

__all__ = ["Listing", "listed_versions", "locate", "locate_by_hash", "model_page", "search"]

LORA_TYPES = frozenset({"LORA", "LoCon", "DoRA"})
"""Model types that modify a checkpoint. LoCon is CivitAI's name for everything that LyCORIS creates."""

MODEL_TYPES = {
    "lora": LORA_TYPES,
    "checkpoint": frozenset({"Checkpoint", "UNet"}),
    "vae": frozenset({"VAE"}),
    "text_encoder": frozenset({"Other", "CLIPVision"}),
    "embedding": frozenset({"TextualInversion"}),
}
"""Kind in the configuration → model types."""


def locate(identifier: Identifier, context: SourceContext) -> RemoteFile | Alias:
    """The file of a version. Raises NotFound, AccessDenied, VerificationFailed or TransferFailed."""
    if identifier.version is None:
        raise _version_missing(identifier, context)
    if identifier.version == "latest":
        return Alias(replace(identifier, version=_newest(identifier, context)))
    version = identifier.version
    try:
        document = _ask(
            context,
            f"/api/v1/model-versions/{version}",
            f"CivitAI has no version {version} ({identifier})",
            identifier,
        )
    except NotFound as error:
        raise _with_other_versions(error, identifier, context) from None
    belongs_to = api.model_id(document)
    if belongs_to is None:
        raise TransferFailed(
            f"CivitAI's response for version {version} doesn't name a model",
            code="badAnswer",
            remedy="Try again later. To see the response, open "
            f"{context.config.civitai_url}/api/v1/model-versions/{version}.",
        )
    if identifier.id and belongs_to != identifier.id:
        raise NotFound(
            f"Version {version} belongs to CivitAI model {belongs_to}, not to {identifier.id}",
            code="wrongModel",
            remedy=f"To use {api.name(document)!r}, write civitai:{belongs_to}@{version}.",
        )
    return _offer(document, context, asked=identifier)


def locate_by_hash(identifier: Identifier, context: SourceContext) -> RemoteFile:
    """The version that has a file with this SHA-256."""
    digest = identifier.id
    document = _ask(
        context,
        f"/api/v1/model-versions/by-hash/{digest.upper()}",
        f"No file with SHA-256 {digest} in your loras folders or on CivitAI",
        identifier,
    )
    return _offer(document, context, asked=identifier, sha256=digest)


@dataclass(frozen=True)
class Listing:
    """One version in a list: what CivitAI says about it, and why it isn't available, if CivitAI already says so."""

    record: LoraRecord
    refused: LoraResolverError | None = None
    published: str = ""
    """The day, such as 2026-01-31."""
    about: str = ""
    """What is new in it, as the author writes it."""


SORTS = {"relevance": "", "downloads": "Most Downloaded", "newest": "Newest"}
"""Sort order of a search → the site's name for it. The site has no name for its default order."""


def search(
    context: SourceContext,
    query: str,
    *,
    families: Collection[str] = (),
    sort: str = "relevance",
    cursor: str | None = None,
    limit: int = 20,
) -> tuple[list[Listing], str | None]:
    """LoRAs that the site finds for a query, each in its newest version for one of `families`, and the cursor for
    the next page. Without families, any version matches. `sort` is one of `SORTS`.

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
    document = _ask(
        context, f"/api/v1/models?{urlencode(asked)}", f"CivitAI rejected the search for {query!r}"
    )
    found = [
        listing
        for model in api.models(document)
        if (listing := _newest_for(wanted, model, context)) is not None
    ]
    return found, api.next_cursor(document)


def listed_versions(model_id: str, context: SourceContext) -> list[Listing]:
    """Every published version of a model, newest first. Raises NotFound and the errors of `search`."""
    model = _ask(context, f"/api/v1/models/{model_id}", f"CivitAI has no model {model_id}")
    return [_listing(document, context) for document in api.version_documents(model)]


def model_page(model_id: str, version: str | None, context: SourceContext) -> ModelPage:
    """The content of the model's page. Raises NotFound and the errors of `search`.

    The weight that the author suggests is requested separately, only for `version`: the REST API's documents don't
    contain it. This request is short, and its failures are ignored.
    """
    model = _ask(context, f"/api/v1/models/{model_id}", f"CivitAI has no model {model_id}")
    page = ModelPage(
        name=api.name(model),
        description=text_of_html(model.get("description")),
        creator=api.creator({"model": model}),
        tags=api.tags(model),
        licence=Licence(**api.terms(model)),
        versions=tuple(
            VersionPage(each.record, each.published, each.about, each.refused is not None)
            for each in (_listing(document, context) for document in api.version_documents(model))
        ),
    )
    wanted = next(
        (each.record for each in page.versions if each.record.identifier == f"civitai:{model_id}@{version}"),
        None,
    )
    if wanted is None or wanted.suggested_weight is not None:
        return page
    weight = _asked_weight(str(version), context)
    return page if weight is None else page.with_weight(wanted.identifier, weight)


def _asked_weight(version: str, context: SourceContext) -> SuggestedWeight | None:
    """Uses the endpoint of the site's own generator (civitai/civitai, pages/api/generation/resources.ts)."""
    address = f"{context.config.civitai_url}/api/generation/resources?ids={version}"
    try:
        answer = context.transport.get_json(address)
    except (LoraResolverError, Cancelled):  # the page is complete without this weight
        return None
    found = answer.body if answer.status == 200 else None
    listed = found if isinstance(found, list) else found.get("items") if isinstance(found, dict) else None
    for each in listed if isinstance(listed, list) else []:
        if isinstance(each, dict) and str(each.get("id")) == version:
            return api.suggested_weight(each)
    return None


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
        refused: LoraResolverError | None = error
    else:
        refused = None
    return Listing(record, refused, api.published(document), text_of_html(document.get("description")))


def _offer(
    document: dict[str, Any], context: SourceContext, *, asked: Identifier, sha256: str | None = None
) -> RemoteFile:
    record = api.lora_record(document, context.config.civitai_url)
    _check_kind(document, record, context.config.kind)
    _check_availability(document, record)
    file = _choose(record, asked, sha256)
    if not is_safetensors(file.name) and file.format != "SafeTensor":
        raise VerificationFailed(
            f"{file.name!r} of {record.identifier} isn't a .safetensors file",
            code="notSafetensors",
            remedy="Other formats can run code when they're loaded. Choose a version with a .safetensors file.",
        )
    if file.scan == "Danger":
        raise VerificationFailed(
            f"CivitAI's scan marked {file.name!r} of {record.identifier} as dangerous",
            code="dangerousFile",
            remedy="Don't use this file.",
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
            explain, record, has_token=context.transport.has_token(file.url), site=context.config.civitai_url
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
        fitting.sort(key=lambda file: -_matches(file, asked))  # stable: ties stay in the site's order
        if not fitting and record.files:
            raise _no_such_file(
                record, f"{record.identifier} has no file that matches {unquote(str(asked.choice))}"
            )
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
        remedy=f"For details, open {record.page_url}.",
    )


def _matches(file: FileRecord, asked: Identifier) -> int:
    return len(traits_of(asked.choice or "").items() & set(file.traits))


def _no_such_file(record: LoraRecord, message: str) -> NotFound:
    several = len(record.files) > 1
    files = (
        f"+{file.id} {file.name}" + (f" ({', '.join(value for _, value in file.traits)})" if several else "")
        for file in record.files
    )
    return NotFound(message, code="notFound", remedy=f"Available files: {', '.join(files) or 'none'}.")


_MOST_SHOWN = 8


def _check_kind(document: dict[str, Any], record: LoraRecord, wanted: str) -> None:
    kind = api.model_type(document)
    if kind and kind not in MODEL_TYPES[wanted]:
        raise VerificationFailed(
            f"{record.identifier} ({record.name}) has the type {kind}, not {KINDS[wanted]}",
            code="notALora" if wanted == "lora" else "wrongKind",
            remedy=f"Use an identifier of type {KINDS[wanted]}.",
        )


def _check_availability(document: dict[str, Any], record: LoraRecord) -> None:
    mode = api.mode(document)
    if mode == "Archived":
        raise archived(record)
    if mode == "TakenDown":
        raise NotFound(
            f"{record.identifier} ({record.name}) was taken down from CivitAI",
            code="takenDown",
            remedy="If you have the file, put it in a loras folder and use local:name.safetensors.",
        )
    usage = document.get("usageControl")
    if usage not in (None, "", "Download"):
        raise downloads_disabled(record)


def _with_other_versions(error: NotFound, identifier: Identifier, context: SourceContext) -> NotFound:
    """The error for a version that is gone, with the available versions of the model."""
    if not identifier.id:
        return error
    try:
        name, versions = _versions(identifier, context)
    except LoraResolverError:  # the model is gone too, or can't be requested
        return error
    if not versions:
        return error
    named = f" ({name})" if name else ""
    return NotFound(
        f"CivitAI model {identifier.id}{named} has no version {identifier.version}",
        code=error.code,
        remedy=f"Available versions: {_shown(identifier, versions)}.",
    )


def _newest(identifier: Identifier, context: SourceContext) -> str:
    versions = _versions(identifier, context)[1]
    if not versions and context.config.offline:
        raise Offline(
            f"No version of {identifier} is on this disk, and offline mode is on",
            code="offline",
            remedy=f"Turn off {setting('AIR_LORA_OFFLINE')} once to download it.",
        )
    if not versions:
        raise not_found(f"CivitAI model {identifier.id} has no available version", context.config.civitai_url)
    return versions[0][0]


def _version_missing(identifier: Identifier, context: SourceContext) -> NotFound:
    name, versions = _versions(identifier, context)
    return NotFound(
        f"Missing version in {identifier}{f' ({name})' if name else ''}",
        code="versionMissing",
        remedy=f"Use one of: {_shown(identifier, versions)}. "
        f"To always use the newest version, write civitai:{identifier.id}@latest."
        if versions
        else f"For the versions, open {context.config.civitai_url}/models/{identifier.id}.",
    )


def _shown(identifier: Identifier, versions: list[tuple[str, str]]) -> str:
    found = [
        f"civitai:{identifier.id}@{number}" + (f" ({called})" if called else "")
        for number, called in versions
    ]
    more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
    return ", ".join(found[:_MOST_SHOWN]) + more


def _versions(identifier: Identifier, context: SourceContext) -> tuple[str, list[tuple[str, str]]]:
    """The model's name, and (number, name) of its versions, newest first; offline, only the versions on this disk."""
    if context.config.offline:
        return "", [(number, "") for number in context.downloads.versions("civitai", identifier.id)]
    model = _ask(context, f"/api/v1/models/{identifier.id}", f"CivitAI has no model {identifier.id}")
    return api.name(model), api.versions(model)


def _ask(context: SourceContext, path: str, missing: str, about: object = "") -> dict[str, Any]:
    if context.config.offline:
        raise Offline(
            f"{about or 'It'} isn't on this disk, and offline mode is on",
            code="offline",
            remedy=f"Turn off {setting('AIR_LORA_OFFLINE')}, or put the file in a loras folder.",
        )
    answer = context.transport.get_json(f"{context.config.civitai_url}{path}")
    if answer.status == 200 and isinstance(answer.body, dict):
        return answer.body
    if answer.status in (400, 404):
        raise not_found(missing, context.config.civitai_url)
    if answer.status == UNAVAILABLE_FOR_LEGAL_REASONS:
        raise region_blocked("CivitAI isn't available in your region (451)")
    if answer.status == 401:
        raise AccessDenied(
            "CivitAI rejected the token",
            code="tokenRejected",
            remedy=f"Create a new token at {context.config.civitai_url}{TOKEN_PAGE} and save it in "
            f"{setting('CIVITAI_API_TOKEN')}, or remove it if the file is public.",
        )
    if answer.status == 403:
        raise AccessDenied(
            "CivitAI blocked this request (403)",
            code="accessDenied",
            remedy="CivitAI might block your country or your internet provider. Try another network or a mirror.",
        )
    raise TransferFailed(
        f"Unexpected response from CivitAI (status {answer.status})",
        code="badAnswer",
        remedy="Try again later.",
    )
