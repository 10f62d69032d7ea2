"""What CivitAI's refusals mean, and what the user can do about each."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import AccessDenied, LoraResolverError, NotFound
from ..text import setting

if TYPE_CHECKING:
    from ..records import LoraRecord
    from ..transfer.transport import Answer

ADULT_SITE = "https://civitai.red"
TOKEN_PAGE = "/user/account"  # noqa: S105 - the page where users create tokens
UNAVAILABLE_FOR_LEGAL_REASONS = 451  # RFC 7725


def explain(record: LoraRecord, answer: Answer, *, has_token: bool, site: str) -> LoraResolverError | None:
    """What CivitAI's refusal of a download means (reference/services.md, 3.3)."""
    body = answer.body if isinstance(answer.body, dict) else {}
    said = ": ".join(text for key in ("error", "message") if (text := str(body.get(key, "")).strip()))
    if answer.status == 401:
        if "disabled" in said.lower():
            return downloads_disabled(record)
        if has_token:
            return AccessDenied(
                f"CivitAI rejected the token for {record.identifier} ({record.name})",
                code="tokenRejected",
                remedy=f"Create a new token at {site}{TOKEN_PAGE} and save it in {setting('CIVITAI_API_TOKEN')}, "
                "or remove it if the file is public.",
            )
        return AccessDenied(
            f"Downloading {record.identifier} ({record.name}) requires a CivitAI token",
            code="loginNeeded",
            remedy=f"Create a token at {site}{TOKEN_PAGE} and save it in {setting('CIVITAI_API_TOKEN')}.",
        )
    if answer.status == 403:
        deadline = body.get("deadline")
        if deadline or "early access" in said.lower():
            until = f" until {str(deadline)[:10]}" if deadline else ""
            return AccessDenied(
                f"{record.identifier} ({record.name}) is in early access{until}",
                code="earlyAccess",
                remedy=f"Buy access at {record.page_url} and save your token in "
                f"{setting('CIVITAI_API_TOKEN')}, or wait.",
            )
        return AccessDenied(
            f"CivitAI denied the download of {record.identifier} ({record.name})"
            + (f": {said}" if said else ""),
            code="accessDenied",
            remedy=f"To see what is required, open {record.page_url}.",
        )
    if answer.status == 404:
        return not_found(f"CivitAI no longer has the file for {record.identifier} ({record.name})", site)
    if answer.status == UNAVAILABLE_FOR_LEGAL_REASONS:
        return region_blocked(f"CivitAI blocks {record.identifier} ({record.name}) in your region (451)")
    if answer.status == 410:
        return archived(record)
    return None


def not_found(message: str, site: str) -> NotFound:
    """The error for something that the service doesn't have, or doesn't show to this user."""
    remedy = (
        "Check the identifier. The model might also be deleted, unpublished, or visible only with a token."
    )
    if urlsplit(site).hostname in ("civitai.com", "www.civitai.com"):
        # reference/services.md, 3.5: civitai.com only returns what everybody may see.
        remedy += (
            f" Adult content is only available at {ADULT_SITE}: set AIR_LORA_CIVITAI_URL to that address."
        )
    return NotFound(message, code="notFound", remedy=remedy)


def region_blocked(message: str) -> AccessDenied:
    """The error for content that the service withholds in a region."""
    return AccessDenied(
        message,
        code="regionBlocked",
        remedy="The law in your region forbids it, or CivitAI doesn't serve your region. A token doesn't help. If you "
        "have the file, put it in a loras folder and use local:name.safetensors.",
    )


def archived(record: LoraRecord) -> NotFound:
    """The error for a version that its creator has archived."""
    return NotFound(
        f"{record.identifier} ({record.name}) is archived on CivitAI and can no longer be downloaded",
        code="archived",
        remedy="If you have the file, put it in a loras folder and use local:name.safetensors.",
    )


def downloads_disabled(record: LoraRecord) -> AccessDenied:
    """The error for a version that may only be used on the service's own site."""
    return AccessDenied(
        f"The creator of {record.identifier} ({record.name}) disabled downloads; you can use it on CivitAI only",
        code="downloadsDisabled",
        remedy="A token doesn't help. Choose another LoRA.",
    )
