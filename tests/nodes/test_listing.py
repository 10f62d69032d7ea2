"""The loras folders in the add panel's search: immediately from the last list, then updated after a scan."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

import pytest
from air_lora_pack.lora_resolver import Resolver, ResolverConfig
from air_lora_pack.nodes.server import model_folders as listings

from tests.lora_files import sd15_lora

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> Iterator[ResolverConfig]:
    listings.forget_listing()
    sd15_lora(tmp_path / "loras" / "first.safetensors")
    yield ResolverConfig(tmp_path / "loras", state_dir=tmp_path / "state")
    listings.forget_listing()


def names(listing: listings.FolderListing) -> list[str]:
    return [file.name for file in listing.search("", ())]


@pytest.fixture
def slow_walk(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Folders on a share that responds only when the event is set. No list is recent enough."""
    goes_on = threading.Event()
    walk = Resolver.library_stamp

    def slowly(resolver: Resolver) -> str | None:
        assert goes_on.wait(120)
        return walk(resolver)

    monkeypatch.setattr(Resolver, "library_stamp", slowly)
    monkeypatch.setattr(listings, "KEEP_SECONDS", 0.0)
    return goes_on


def test_a_key_is_answered_from_the_last_list_while_the_folders_are_walked(
    config: ResolverConfig, slow_walk: threading.Event
) -> None:
    slow_walk.set()
    first, is_current = listings.listing_soon(config)
    assert (names(first), is_current) == (["first.safetensors"], True), "without a list, it is waited for"
    shutil.copy(config.download_dir / "first.safetensors", config.download_dir / "second.safetensors")
    slow_walk.clear()
    before, is_current = listings.listing_soon(config)
    assert (names(before), is_current) == (["first.safetensors"], False)
    slow_walk.set()
    assert names(listings.listing(config)) == ["first.safetensors", "second.safetensors"]


def test_after_a_download_the_old_list_is_not_given_again(
    config: ResolverConfig, slow_walk: threading.Event
) -> None:
    slow_walk.set()
    listings.listing(config)
    slow_walk.clear()
    assert not listings.listing_soon(config)[1]
    shutil.copy(config.download_dir / "first.safetensors", config.download_dir / "second.safetensors")
    listings.forget_listing()
    slow_walk.set()
    found, is_current = listings.listing_soon(config)
    assert (names(found), is_current) == (["first.safetensors", "second.safetensors"], True)


def test_a_walk_that_fails_tells_whoever_waits_and_the_next_one_tries_again(
    config: ResolverConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_resolver: Resolver) -> str | None:
        raise OSError("the share is gone")

    with monkeypatch.context() as patched:
        patched.setattr(Resolver, "library_stamp", breaks)
        with pytest.raises(OSError, match="the share is gone"):
            listings.listing_soon(config)
    assert names(listings.listing(config)) == ["first.safetensors"]
