"""The services in the configuration, with the hosts that belong to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .address_rules import Service

if TYPE_CHECKING:
    from ..config import ResolverConfig

__all__ = ["services"]

# One service under several names: .com shows safe-for-work content, .red shows everything, .green is the former .com.
_CIVITAI_HOSTS = frozenset({"civitai.com", "www.civitai.com", "civitai.red", "civitai.green"})


def services(config: ResolverConfig) -> tuple[Service, ...]:
    """The configured services. CivitAI's other hosts are included only if the base address is one of them."""
    civitai = Service("CivitAI", config.civitai_url, token=config.civitai_token)
    if civitai.host in _CIVITAI_HOSTS:
        civitai = Service("CivitAI", config.civitai_url, _CIVITAI_HOSTS, config.civitai_token)
    hugging_face = Service("Hugging Face", config.hf_endpoint, token=config.hf_token)
    if config.archive_url is None:
        return civitai, hugging_face
    return civitai, hugging_face, Service("the archive", config.archive_url)
