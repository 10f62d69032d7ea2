"""A local server that responds as CivitAI's REST v1 does, for the demo, manual testing, and tests.

    python -m tools.civitai_server catalogue.json [--port 8190] [--token SECRET]

Its responses follow https://developer.civitai.com/site/reference. A catalogue is a list of

    {"model_id": 1, "version_id": 11, "name": "Ink", "file": "ink.safetensors",
     "version_name": "v1.0", "base_model": "SD 1.5", "trigger_words": ["ink"], "preview": "ink.png"}

Paths are relative to the catalogue's folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import secrets
import threading
import time
from dataclasses import dataclass, replace
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from tools.local_server import Exchange, LocalServer, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["CatalogueEntry", "CivitaiServer", "Exchange", "Request", "read_catalogue"]

SIGNATURE_SECONDS = 3600


@dataclass(frozen=True)
class CatalogueEntry:
    """One version of a LoRA with its file, or one of its files."""

    model_id: int
    version_id: int
    name: str
    file: Path
    version_name: str = "v1.0"
    base_model: str = "SD 1.5"
    trigger_words: tuple[str, ...] = ()
    preview: Path | None = None
    picture_level: int = 1
    picture_type: str = "image"
    kind: str = "LORA"
    also: tuple[Path, ...] = ()
    """Further model files of the version."""
    number: int = 1
    """The position of this file in the version, from 1."""
    about: str = ""
    """HTML: what is new in the version."""
    description: str = ""
    """HTML: what the model is."""
    published: str = "2026-01-01"
    suggested: tuple[float, float, float] = (1, -1, 2)
    """Weight, minimum, and maximum. The default is what CivitAI returns if the author chose nothing."""
    more_pictures: tuple[Path, ...] = ()

    @property
    def file_id(self) -> int:
        return self.version_id * 10 + self.number

    @cached_property
    def files(self) -> list[CatalogueEntry]:
        """One entry for each file of the version."""
        others = enumerate(self.also, start=2)
        return [self, *(replace(self, file=path, also=(), number=number) for number, path in others)]

    @cached_property
    def sha256(self) -> str:
        with self.file.open("rb") as file:
            return (
                hashlib.file_digest(file, "sha256").hexdigest()
                if hasattr(hashlib, "file_digest")
                else _digest(file)
            )


def read_catalogue(path: Path) -> list[CatalogueEntry]:
    """Reads a catalogue from a JSON file. The module docstring explains the format."""
    entries = json.loads(path.read_bytes())
    return [
        CatalogueEntry(
            **{
                **entry,
                "file": path.parent / entry["file"],
                "trigger_words": tuple(entry.get("trigger_words", ())),
                "preview": path.parent / entry["preview"] if entry.get("preview") else None,
            }
        )
        for entry in entries
    ]


class CivitaiServer(LocalServer):
    """Serves a catalogue on loopback while its `with` block runs. With `token`, downloads need that token.

    Tests subclass it and override `version`, `download`, or `deliver` to simulate errors.
    """

    def __init__(
        self, catalogue: Iterable[CatalogueEntry], port: int = 0, *, token: str | None = None
    ) -> None:
        super().__init__(port)
        self.catalogue: Sequence[CatalogueEntry] = tuple(catalogue)
        self.token = token
        self._signatures: dict[str, float] = {}

    def answer(self, exchange: Exchange) -> None:
        """Passes one request to the method that answers it."""
        routes = (
            (r"/api/v1/model-versions/by-hash/(\w+)", self.by_hash),
            (r"/api/v1/model-versions/(\d+)", self.version),
            (r"/api/v1/models/(\d+)", self.model),
            (r"/api/v1/models", self.search),
            (r"/api/generation/resources", self.resources),
            (r"/api/download/models/(\d+)", self.download),
            (r"/delivery/(\d+)/[^/]+", self.deliver),
            (r"/previews/(\d+)(?:/(\d+))?", self.preview),
        )
        for pattern, route in routes:
            match = re.fullmatch(pattern, exchange.request.path)
            if match:
                route(exchange, *match.groups())
                return
        super().answer(exchange)

    def version(self, exchange: Exchange, version_id: str) -> None:
        """GET /api/v1/model-versions/{id}"""
        lora = self._find(version_id=int(version_id))
        if lora is None:
            exchange.send_json({"error": "Model not found"}, HTTPStatus.NOT_FOUND)
        else:
            exchange.send_json(self.version_document(lora))

    def by_hash(self, exchange: Exchange, digest: str) -> None:
        """GET /api/v1/model-versions/by-hash/{hash}"""
        for lora in self.catalogue:
            if lora.sha256 == digest.lower():
                exchange.send_json(self.version_document(lora))
                return
        exchange.send_json({"error": "Model not found"}, HTTPStatus.NOT_FOUND)

    def model(self, exchange: Exchange, model_id: str) -> None:
        """GET /api/v1/models/{id}"""
        versions = [lora for lora in self.catalogue if lora.model_id == int(model_id)]
        if versions:
            exchange.send_json(self._model_document(versions))
        else:
            exchange.send_json({"error": "Model not found"}, HTTPStatus.NOT_FOUND)

    def resources(self, exchange: Exchange) -> None:
        """GET /api/generation/resources?ids=: the request that CivitAI's own generator sends."""
        wanted = exchange.request.query.get("ids", "").split(",")
        found = [
            {
                "id": lora.version_id,
                "name": lora.version_name,
                **dict(zip(("strength", "minStrength", "maxStrength"), lora.suggested)),
            }
            for lora in self.catalogue
            if str(lora.version_id) in wanted
        ]
        exchange.send_json(found)

    def search(self, exchange: Exchange) -> None:
        """GET /api/v1/models?query=&types=&types=&baseModels=&limit=&cursor="""
        query = parse_qs(urlsplit(exchange.handler.path).query)
        words = query.get("query", [""])[0].lower()
        found: dict[int, list[CatalogueEntry]] = {}
        for lora in self.catalogue:
            if (
                words in lora.name.lower()
                and lora.kind in query.get("types", [lora.kind])
                and lora.base_model in query.get("baseModels", [lora.base_model])
            ):
                found.setdefault(lora.model_id, []).append(lora)
        start, limit = int(query.get("cursor", ["0"])[0]), int(query.get("limit", ["100"])[0])
        models = [self._model_document(versions) for versions in found.values()]
        metadata = {"nextCursor": str(start + limit)} if start + limit < len(models) else {}
        exchange.send_json({"items": models[start : start + limit], "metadata": metadata})

    def download(self, exchange: Exchange, version_id: str) -> None:
        """GET /api/download/models/{id}: a redirect to a signed address that is valid for an hour."""
        lora = self._find(version_id=int(version_id))
        wanted = exchange.request.query.get("fileId")
        if lora is not None and wanted is not None:
            lora = next((each for each in lora.files if wanted == str(each.file_id)), None)
        if lora is None:
            exchange.send_json({"error": "File not found"}, HTTPStatus.NOT_FOUND)
        elif (
            self.token is not None and exchange.request.headers.get("authorization") != f"Bearer {self.token}"
        ):
            exchange.send_json(
                {
                    "error": "Unauthorized",
                    "message": "The creator of this asset requires you to be logged in to download it",
                },
                HTTPStatus.UNAUTHORIZED,
            )
        else:
            exchange.redirect(self.signed_address(lora))

    def deliver(self, exchange: Exchange, file_id: str) -> None:
        """GET of a signed address: the file's bytes, or a range of them."""
        lora = self._find(file_id=int(file_id))
        expires = self._signatures.get(exchange.request.query.get("signature", ""), 0.0)
        if lora is None or expires < time.monotonic():
            exchange.send_json({"error": "Signature expired"}, HTTPStatus.FORBIDDEN)
        else:
            exchange.send_file(lora.file, etag=f'"{lora.sha256[:16]}"')

    def preview(self, exchange: Exchange, file_id: str, number: str | None) -> None:
        """GET of a preview picture."""
        lora = self._find(file_id=int(file_id))
        pictures = [] if lora is None or lora.preview is None else [lora.preview, *lora.more_pictures]
        if int(number or 0) >= len(pictures):
            exchange.send_json({"error": "Not found"}, HTTPStatus.NOT_FOUND)
        else:
            exchange.send_file(pictures[int(number or 0)])

    def signed_address(self, lora: CatalogueEntry, seconds: float = SIGNATURE_SECONDS) -> str:
        """Returns an address for the file that expires after `seconds`."""
        signature = secrets.token_urlsafe(16)
        self._signatures[signature] = time.monotonic() + seconds
        return f"{self.url}/delivery/{lora.file_id}/{quote(lora.file.name)}?signature={signature}"

    def version_document(self, lora: CatalogueEntry) -> dict[str, Any]:
        """The JSON of a version, with the keys that CivitAI currently returns."""
        address = f"{self.url}/api/download/models/{lora.version_id}"
        return {
            "id": lora.version_id,
            "modelId": lora.model_id,
            "name": lora.version_name,
            "status": "Published",
            "publishedAt": f"{lora.published}T00:00:00.000Z",
            "trainedWords": list(lora.trigger_words),
            "baseModel": lora.base_model,
            "baseModelType": "Standard",
            "description": lora.about or None,
            "usageControl": "Download",
            "paidAccess": None,
            "air": f"urn:air:sd1:lora:civitai:{lora.model_id}@{lora.version_id}",
            "stats": {"downloadCount": 0, "thumbsUpCount": 0},
            "model": {"name": lora.name, "type": lora.kind, "nsfw": False, "poi": False},
            "files": [
                {
                    "id": each.file_id,
                    "sizeKB": each.file.stat().st_size / 1024,
                    "name": each.file.name,
                    "type": "Model",
                    "pickleScanResult": "Success",
                    "virusScanResult": "Success",
                    "metadata": {"format": "SafeTensor", "size": None, "fp": None},
                    "hashes": {"AutoV2": each.sha256[:10].upper(), "SHA256": each.sha256.upper()},
                    "primary": each.number == 1,
                    "downloadUrl": address if each.number == 1 else f"{address}?fileId={each.file_id}",
                }
                for each in lora.files
            ],
            "images": []
            if lora.preview is None
            else [self._image(lora, number) for number in range(1 + len(lora.more_pictures))],
            "downloadUrl": address,
        }

    def _image(self, lora: CatalogueEntry, number: int = 0) -> dict[str, Any]:
        return {
            "url": f"{self.url}/previews/{lora.file_id}{f'/{number}' if number else ''}",
            "type": lora.picture_type,
            "nsfwLevel": lora.picture_level,
        }

    def _model_document(self, versions: Sequence[CatalogueEntry]) -> dict[str, Any]:
        first = versions[0]
        documents = [self.version_document(lora) for lora in versions]
        for document in documents:
            del document["model"], document["modelId"]
        return {
            "id": first.model_id,
            "name": first.name,
            "type": first.kind,
            "nsfw": False,
            "creator": {"username": "demo", "image": None},
            "description": first.description or None,
            "tags": ["style", "demo"],
            "allowNoCredit": True,
            "allowCommercialUse": ["Image", "RentCivit"],
            "allowDerivatives": True,
            "allowDifferentLicense": False,
            "modelVersions": documents,
        }

    def _find(self, **wanted: int) -> CatalogueEntry | None:
        for lora in (each for version in self.catalogue for each in version.files):
            if all(getattr(lora, name) == value for name, value in wanted.items()):
                return lora
        return None


def _digest(file: Any) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serves until Ctrl-C."""
    parser = argparse.ArgumentParser(description="Answer as CivitAI does, for a folder of LoRAs.")
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("--port", type=int, default=8190)
    parser.add_argument("--token", help="what downloads shall need as a Bearer token")
    options = parser.parse_args(arguments)
    with CivitaiServer(read_catalogue(options.catalogue), options.port, token=options.token) as server:
        print(f"AIR_LORA_CIVITAI_URL={server.url}", flush=True)
        for lora in server.catalogue:
            print(f"  civitai:{lora.model_id}@{lora.version_id}  {lora.name} ({lora.file.name})", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print("Stopped.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
