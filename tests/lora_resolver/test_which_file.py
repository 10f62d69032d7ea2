"""Which file of a CivitAI version is chosen, and what is reported if the user didn't specify one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lora_resolver import AccessDenied, LoraResolverError, NotFound, Resolver, TransferFailed
from lora_resolver.identifiers import parse_identifier
from lora_resolver.sources.civitai_refusals import not_found
from tests.lora_resolver.served_loras import quick_config, write_safetensors
from tools.civitai_server import CatalogueEntry, CivitaiServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lora_resolver.config import ResolverConfig
    from tools.civitai_server import Exchange

# File ID → name, type, and metadata, as CivitAI returns them. Each one is a separate file.
FILES: dict[int, tuple[str, str, dict[str, str]]] = {
    501: ("motion_high.safetensors", "Model", {"format": "SafeTensor", "size": "full", "fp": "fp16"}),
    502: ("motion_low.safetensors", "Model", {"format": "SafeTensor", "size": "full", "fp": "fp16"}),
    503: ("motion_large.safetensors", "Model", {"format": "SafeTensor", "size": "full", "fp": "fp32"}),
    504: ("images.zip", "Training Data", {"format": "Other"}),
    505: ("motion.sft", "Pruned Model", {"format": "SafeTensor", "size": "pruned", "fp": "bf16"}),
}


class CivitaiOfPairs(CivitaiServer):
    """Version 20 of model 10 has several files; 21 is gone; 22 doesn't contain its model; 23 is blocked here."""

    def __init__(self, folder: Path) -> None:
        self.files = {
            number: write_safetensors(folder / name, 2000 + number, seed=number - 500)
            for number, (name, _, _) in FILES.items()
        }
        super().__init__(
            [
                CatalogueEntry(10, 20, "Motion", self.files[501], "v2"),
                CatalogueEntry(10, 19, "Motion", self.files[502], "v1"),
                CatalogueEntry(10, 22, "Motion", self.files[503]),
            ]
        )
        self.entries = {number: CatalogueEntry(10, 20, "Motion", path) for number, path in self.files.items()}

    def version(self, exchange: Exchange, version_id: str) -> None:
        if version_id == "23":
            exchange.send_json({"error": "Unavailable For Legal Reasons"}, 451)
        else:
            super().version(exchange, version_id)

    def version_document(self, lora: CatalogueEntry) -> dict[str, Any]:
        document = super().version_document(lora)
        if lora.version_id == 22:
            document["modelId"] = None
        if lora.version_id == 20:
            document["files"] = [
                {
                    **document["files"][0],
                    "id": number,
                    "name": name,
                    "type": kind,
                    "metadata": metadata,
                    "primary": number == 501,
                    "sizeKB": self.files[number].stat().st_size / 1024,
                    "hashes": {"SHA256": self.entries[number].sha256.upper()},
                }
                for number, (name, kind, metadata) in FILES.items()
            ]
        return document

    def download(self, exchange: Exchange, version_id: str) -> None:
        if version_id == "20":
            number = int(exchange.request.query["fileId"])
            exchange.send_file(self.files[number], etag=f'"{number}"')
        else:
            super().download(exchange, version_id)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CivitaiOfPairs]:
    with CivitaiOfPairs(tmp_path_factory.mktemp("pairs")) as server:
        yield server


@pytest.fixture
def config(pairs: CivitaiOfPairs, tmp_path: Path) -> ResolverConfig:
    return quick_config(tmp_path / "loras", civitai_url=pairs.url)


@pytest.mark.parametrize(
    ("text", "file"),
    [
        ("civitai:10@20", 501),
        ("https://civitai.com/api/download/models/20?fileId=502", 502),
        ("https://civitai.com/models/10?modelVersionId=20&fileId=502", 502),
        ("https://civitai.red/api/download/models/20?type=Model&format=SafeTensor&size=full&fp=fp32", 503),
        ("https://civitai.com/models/10/motion?fp=fp32&modelVersionId=20", 503),
        ("civitai.com/api/download/models/20?token=secret&type=Pruned%20Model", 505),
        ("https://civitai.com/api/download/models/20?size=pruned", 505),
    ],
)
def test_an_address_chooses_its_file(
    text: str, file: int, pairs: CivitaiOfPairs, config: ResolverConfig
) -> None:
    lora = Resolver(config).resolve(text)
    assert lora.sha256 == pairs.entries[file].sha256
    again = Resolver(config.with_changes(offline=True)).resolve(str(parse_identifier(text)))
    assert again.path == lora.path, "its canonical text names the same file, without the network too"


def test_a_file_that_the_version_lacks_is_an_error_that_lists_those_there_are(config: ResolverConfig) -> None:
    for text in ("civitai.com/api/download/models/20?fp=nf4", "civitai:10@20+999"):
        with pytest.raises(NotFound) as fault:
            Resolver(config).resolve(text)
        assert fault.value.code == "notFound"
        assert all(f"+{number}" in fault.value.remedy for number in FILES)


def test_files_that_nothing_tells_apart_are_told(config: ResolverConfig) -> None:
    for text, told in (
        ("civitai:10@20", {501, 502, 503, 505}),
        ("civitai:@20?fp=fp16&size=full", {501, 502}),
        ("civitai:10@20?fp=fp32", set()),
        ("civitai:10@20+502", set()),
    ):
        for _ in range(2):  # downloads it, then reads it from the disk
            lora = Resolver(config).resolve(text)
            said = " ".join(lora.warnings)
            assert {number for number in FILES if f"civitai:10@20+{number} " in said} == told, text


def test_a_version_that_is_gone_names_those_that_are_there(config: ResolverConfig) -> None:
    with pytest.raises(NotFound) as fault:
        Resolver(config).resolve("civitai:10@21")
    assert "civitai:10@20" in fault.value.remedy
    assert "civitai:10@19" in fault.value.remedy


def test_a_version_without_its_model_is_no_version_of_model_none(config: ResolverConfig) -> None:
    for text in ("civitai:10@22", "civitai:@22"):
        with pytest.raises(TransferFailed) as fault:
            Resolver(config).resolve(text)
        assert fault.value.code == "badAnswer"
        assert "None" not in f"{fault.value.message} {fault.value.remedy}"


def test_what_the_law_forbids_here_says_so(config: ResolverConfig) -> None:
    with pytest.raises(AccessDenied) as fault:
        Resolver(config).resolve("civitai:10@23")
    assert fault.value.code == "regionBlocked"


def test_what_the_first_site_lacks_may_be_at_the_one_for_adults() -> None:
    assert "https://civitai.red" in not_found("gone", "https://civitai.com").remedy
    assert "civitai.red" not in not_found("gone", "https://civitai.red").remedy


def test_a_mirror_of_hugging_face_is_one_where_it_is_named(
    monkeypatch: pytest.MonkeyPatch, config: ResolverConfig
) -> None:
    address = "https://hf-mirror.example/org/repo/resolve/main/a.safetensors"
    with pytest.raises(LoraResolverError) as fault:
        parse_identifier(address)
    assert "HF_ENDPOINT" in fault.value.remedy
    monkeypatch.setenv("HF_ENDPOINT", "https://hf-mirror.example")
    assert str(parse_identifier(address)) == "huggingface:org/repo@main/a.safetensors"
    monkeypatch.delenv("HF_ENDPOINT")
    config.with_changes(hf_endpoint="https://proxy.example:8443/hf")
    below = "https://proxy.example:8443/hf/org/repo/blob/main/a.sft"
    assert str(parse_identifier(below)) == "huggingface:org/repo@main/a.sft"
