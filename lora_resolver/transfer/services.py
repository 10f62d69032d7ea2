"""The services that the configuration names, with the hosts that are theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .address_rules import Service

if TYPE_CHECKING:
    from ..config import ResolverConfig

__all__ = ["services"]

# One service under several names: .com shows what is safe for work, .red everything, .green was the former .com.
_CIVITAI_HOSTS = frozenset({"civitai.com", "www.civitai.com", "civitai.red", "civitai.green"})


def services(config: ResolverConfig) -> tuple[Service, ...]:
    """Those that the configuration names. Sister hosts count only where the base address is one of them."""
    civitai = Service("CivitAI", config.civitai_url, token=config.civitai_token)
    if civitai.host in _CIVITAI_HOSTS:
        civitai = Service("CivitAI", config.civitai_url, _CIVITAI_HOSTS, config.civitai_token)
    hugging_face = Service("Hugging Face", config.hf_endpoint, token=config.hf_token)
    if config.archive_url is None:
        return civitai, hugging_face
    return civitai, hugging_face, Service("the archive", config.archive_url)
