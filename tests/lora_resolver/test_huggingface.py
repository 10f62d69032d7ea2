"""Hugging Face, with huggingface_hub and our download engine, against a local Hub."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from lora_resolver.config import ResolverConfig
from lora_resolver.errors import AccessDenied, LoraResolverError, NotFound, Offline, TransferFailed
from lora_resolver.resolver import Resolver
from tests.lora_resolver.served_loras import quick_config, write_safetensors
from tools.huggingface_server import HuggingFaceServer, Repository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tools.huggingface_server import Exchange

TOKEN = "hf_testtoken0123456789"
COMMIT = "c" * 40
OLD_COMMIT = "d" * 40
NAME = "huggingface:ink-org/ink-lora@main/weights/ink.safetensors"


@pytest.fixture
def ink(tmp_path: Path) -> Path:
    return write_safetensors(tmp_path / "served" / "ink.safetensors", 300_000)


@pytest.fixture
def hub(ink: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HuggingFaceServer]:
    """Repositories of each kind. The machine's own cache isn't used."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    small = write_safetensors(tmp_path / "served" / "small.safetensors", 4_000, seed=5)
    files = {"README.md": ink, "weights/ink.safetensors": ink}
    card = {"base_model": "stabilityai/stable-diffusion-xl-base-1.0", "instance_prompt": "ink drawing"}
    repositories = [
        Repository(
            "ink-org/ink-lora", files, {"main": COMMIT, "v1": OLD_COMMIT, "refs/pr/3": OLD_COMMIT}, card
        ),
        Repository("ink-org/many", {"a.safetensors": ink, "b/b.safetensors": small}),
        Repository("ink-org/none", {"model.bin": ink}),
        Repository("ink-org/gated", files, gated=True),
        Repository("ink-org/granted", files, gated=True),
        Repository("ink-org/private", files, private=True),
        Repository("ink-org/tiny", {"small.safetensors": small}, in_git=frozenset({"small.safetensors"})),
    ]
    with HuggingFaceServer(repositories, token=TOKEN, granted=frozenset({"ink-org/granted"})) as server:
        yield server


@pytest.fixture
def config(hub: HuggingFaceServer, tmp_path: Path) -> ResolverConfig:
    # The storage is on another host, and on loopback only configured hosts are contacted.
    return quick_config(tmp_path / "loras", hf_endpoint=hub.url, civitai_url="http://localhost:9")


def test_a_file_is_downloaded_verified_and_described(config: ResolverConfig, ink: Path) -> None:
    lora = Resolver(config).resolve(NAME)
    folder = config.download_dir / "air" / "huggingface" / "ink-org" / "ink-lora@main" / "weights"
    assert lora.path == folder / "ink.safetensors"
    assert lora.path.read_bytes() == ink.read_bytes()
    assert (lora.downloaded, lora.source, lora.trigger_words) == (True, "huggingface", ("ink drawing",))
    assert lora.record is not None
    assert (lora.record.name, lora.record.base_model) == (
        "ink-org/ink-lora",
        "stabilityai/stable-diffusion-xl-base-1.0",
    )


def test_a_second_run_touches_no_network(config: ResolverConfig, hub: HuggingFaceServer) -> None:
    first = Resolver(config).resolve(NAME)
    asked = len(hub.requests)
    second = Resolver(config).resolve(NAME)
    assert (second.path, second.downloaded, len(hub.requests)) == (first.path, False, asked)
    by_commit = Resolver(config).resolve(f"huggingface:ink-org/ink-lora@{COMMIT}/weights/ink.safetensors")
    assert (by_commit.path, len(hub.requests)) == (first.path, asked)


def test_it_comes_in_ranges_from_the_storage_that_the_hub_named_once(
    config: ResolverConfig, hub: HuggingFaceServer
) -> None:
    Resolver(config).resolve(NAME)
    ranges = {request.headers["range"] for request in hub.requests if request.path.startswith("/storage/")}
    assert len(ranges) > 1
    asked = [request.path for request in hub.requests if "/resolve/" in request.path]
    assert asked == ["/ink-org/ink-lora/resolve/main/weights/ink.safetensors"]


@pytest.mark.parametrize("look_first", [False, True])
def test_an_address_that_has_expired_is_asked_for_anew_at_the_same_commit(
    config: ResolverConfig, hub: HuggingFaceServer, ink: Path, look_first: bool
) -> None:
    deliver, refused = hub.deliver, []

    def expired_at_first(exchange: Exchange, name: str) -> None:
        if not refused:
            refused.append(name)
            exchange.send_json({"error": "Request has expired"}, 403)
        else:
            deliver(exchange, name)

    hub.deliver = expired_at_first  # type: ignore[method-assign]  # only for this server
    if look_first:
        assert Resolver(config).peek(NAME).header is not None
    else:
        assert Resolver(config).resolve(NAME).path.read_bytes() == ink.read_bytes()
    asked = [request.path for request in hub.requests if "/resolve/" in request.path]
    assert set(asked[1:]) == {f"/ink-org/ink-lora/resolve/{COMMIT}/weights/ink.safetensors"}


@pytest.mark.parametrize(
    ("name", "commit"),
    [
        ("huggingface:ink-org/ink-lora@v1/weights/ink.safetensors", OLD_COMMIT),
        ("huggingface:ink-org/ink-lora@refs/pr/3/weights/ink.safetensors", OLD_COMMIT),
        (f"https://huggingface.co/ink-org/ink-lora/blob/{OLD_COMMIT}/weights/ink.safetensors", OLD_COMMIT),
        ("https://huggingface.co/ink-org/ink-lora/resolve/main/weights/ink.safetensors", COMMIT),
        ("urn:air:sdxl:lora:huggingface:ink-org/ink-lora@main/weights/ink.safetensors", COMMIT),
        ("huggingface:ink-org/ink-lora", COMMIT),
        ("huggingface:ink-org/ink-lora@v1", OLD_COMMIT),
    ],
)
def test_every_revision_and_spelling(
    config: ResolverConfig, hub: HuggingFaceServer, name: str, commit: str
) -> None:
    lora = Resolver(config).resolve(name)
    assert lora.path.name == "ink.safetensors"
    assert hub.requests[-1].path.startswith("/storage/")
    asked = len(hub.requests)
    by_commit = Resolver(config).resolve(f"huggingface:ink-org/ink-lora@{commit}/weights/ink.safetensors")
    assert (by_commit.path, len(hub.requests)) == (lora.path, asked)


def test_the_same_content_at_another_revision_is_not_downloaded_again(
    config: ResolverConfig, hub: HuggingFaceServer
) -> None:
    first = Resolver(config).resolve(NAME)
    delivered = sum(request.path.startswith("/storage/") for request in hub.requests)
    other = Resolver(config).resolve("huggingface:ink-org/ink-lora@v1/weights/ink.safetensors")
    assert (other.path, other.downloaded) == (first.path, False)
    assert sum(request.path.startswith("/storage/") for request in hub.requests) == delivered


def test_a_small_file_in_git_has_no_promised_hash(config: ResolverConfig) -> None:
    lora = Resolver(config).resolve("huggingface:ink-org/tiny@main/small.safetensors")
    assert lora.downloaded
    assert Resolver(config).resolve("huggingface:ink-org/tiny@main/small.safetensors").downloaded is False


def test_private_and_gated_ones_with_a_token(config: ResolverConfig) -> None:
    resolver = Resolver(config.with_changes(hf_token=TOKEN))
    for name in ("private", "granted"):
        assert resolver.resolve(f"huggingface:ink-org/{name}@main/weights/ink.safetensors").size > 0


REFUSALS = [
    (
        "huggingface:ink-org/gated@main/weights/ink.safetensors",
        None,
        "gated",
        "ink-org/gated is gated: its owner grants access on request only.",
    ),
    (
        "huggingface:ink-org/gated@main/weights/ink.safetensors",
        TOKEN,
        "gated",
        "with the account that the token belongs to.",
    ),
    (
        "huggingface:ink-org/private@main/weights/ink.safetensors",
        None,
        "notFound",
        "Hugging Face has no repository ink-org/private, or it's private.",
    ),
    (
        "huggingface:ink-org/nothing@main/weights/ink.safetensors",
        TOKEN,
        "notFound",
        "Hugging Face has no repository ink-org/nothing, or your token doesn't have access to it.",
    ),
    (
        "huggingface:ink-org/ink-lora@main/weights/ink.safetensors",
        "hf_wrong",
        "tokenRejected",
        "Hugging Face rejected the token",
    ),
    (
        "huggingface:ink-org/ink-lora@v9/weights/ink.safetensors",
        None,
        "notFound",
        "ink-org/ink-lora has no branch, tag, or commit v9.",
    ),
    (
        "huggingface:ink-org/ink-lora@main/ink.safetensors",
        None,
        "notFound",
        "ink-org/ink-lora has no file ink.safetensors at main. Did you mean weights/ink.safetensors?",
    ),
    (
        "huggingface:ink-org/many",
        None,
        "fileMissing",
        "huggingface:ink-org/many has 2 .safetensors files, but the identifier doesn't specify one.",
    ),
    ("huggingface:ink-org/none@main", None, "noFile", "has no .safetensors file."),
]


@pytest.mark.parametrize(("name", "token", "code", "says"), REFUSALS)
def test_what_cannot_be_had_is_explained(
    config: ResolverConfig, name: str, token: str | None, code: str, says: str
) -> None:
    with pytest.raises((NotFound, AccessDenied)) as caught:
        Resolver(config.with_changes(hf_token=token)).resolve(name)
    assert caught.value.code == code
    assert says in str(caught.value)
    assert not config.download_dir.exists() or not list(config.download_dir.rglob("*.safetensors*"))


def test_offline_names_what_is_missing(config: ResolverConfig, hub: HuggingFaceServer) -> None:
    with pytest.raises(Offline, match="offline mode is on"):
        Resolver(config.with_changes(offline=True)).resolve(NAME)
    assert hub.requests == []


def test_what_another_program_has_in_its_cache_is_used(
    config: ResolverConfig, hub: HuggingFaceServer, tmp_path: Path
) -> None:
    import huggingface_hub

    there = huggingface_hub.hf_hub_download(
        "ink-org/ink-lora",
        "weights/ink.safetensors",
        endpoint=hub.url,
        cache_dir=tmp_path / "hub-cache",
        token=False,
    )
    asked = len(hub.requests)
    lora = Resolver(config.with_changes(offline=True)).resolve(NAME)
    assert (str(lora.path), lora.downloaded, len(hub.requests)) == (there, False, asked)


class _Failing(HuggingFaceServer):
    """Answers every request with one status, until it has done so a number of times."""

    def __init__(self, status: int, times: int, *repositories: Repository) -> None:
        super().__init__(repositories)
        self._status, self._left = status, times

    def answer(self, exchange: Exchange) -> None:
        self._left -= 1
        if self._left >= 0:
            exchange.send_json({"error": "no"}, self._status)
        else:
            super().answer(exchange)


@pytest.mark.parametrize(("status", "code"), [(429, "rateLimited"), (503, "serverError"), (418, "badAnswer")])
def test_a_hub_that_fails_is_named_and_asked_again(
    config: ResolverConfig, hub: HuggingFaceServer, status: int, code: str
) -> None:
    repository = hub.repositories["ink-org/ink-lora"]
    with _Failing(status, 99, repository) as failing, pytest.raises(TransferFailed) as caught:
        Resolver(replace(config, hf_endpoint=failing.url)).resolve(NAME)
    assert caught.value.code == code
    if code != "badAnswer":
        with _Failing(status, 1, repository) as failing:
            assert Resolver(replace(config, hf_endpoint=failing.url)).resolve(NAME).downloaded


def test_a_hub_that_is_not_there(config: ResolverConfig) -> None:
    with pytest.raises(LoraResolverError) as caught:
        Resolver(config.with_changes(hf_endpoint="http://127.0.0.1:9")).resolve(NAME)
    assert (caught.value.code, "127.0.0.1:9" in str(caught.value)) == ("connectionFailed", True)


def test_the_token_that_the_hub_s_own_program_saved_is_used(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    base = {"AIR_LORA_DIR": str(tmp_path), "HF_HOME": str(tmp_path)}
    assert ResolverConfig.from_environment(base).hf_token == TOKEN
    assert ResolverConfig.from_environment({**base, "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}).hf_token is None
    assert ResolverConfig.from_environment({**base, "HF_TOKEN": "hf_other"}).hf_token == "hf_other"
    assert ResolverConfig.from_environment({**base, "HUGGING_FACE_HUB_TOKEN": "hf_old"}).hf_token == "hf_old"


def test_without_huggingface_hub_the_remedy_is_named(
    config: ResolverConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(LoraResolverError, match="pip install huggingface_hub") as caught:
        Resolver(config).resolve(NAME)
    assert caught.value.code == "packageMissing"


def test_a_storage_in_the_own_network_is_not_gone_to(hub: HuggingFaceServer, tmp_path: Path) -> None:
    """The Hub's redirect isn't trusted: it must not lead to a host that only this machine can reach."""
    config = quick_config(tmp_path / "loras", hf_endpoint=hub.url)
    before = len(hub.requests)
    with pytest.raises(LoraResolverError) as raised:
        Resolver(config).peek(NAME)
    assert raised.value.code == "redirectRefused"
    assert not [each for each in hub.requests[before:] if each.path.startswith("/storage")]
