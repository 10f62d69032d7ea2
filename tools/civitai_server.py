"""A local server that answers as CivitAI's REST v1 does, for the demo, for trying by hand and for tests.

    python -m tools.civitai_server catalogue.json [--port 8190] [--token SECRET]

What it answers is in https://developer.civitai.com/site/reference; a catalogue is a list of

    {"model_id": 1, "version_id": 11, "name": "Ink", "file": "ink.safetensors",
     "version_name": "v1.0", "base_model": "SD 1.5", "trigger_words": ["ink"], "preview": "ink.png"}

with paths relative to the catalogue's own folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import mimetypes
import re
import secrets
import threading
import time
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["CatalogueEntry", "CivitaiServer", "Exchange", "Request", "read_catalogue"]

SIGNATURE_SECONDS = 3600


@dataclass(frozen=True)
class CatalogueEntry:
    """One version of a LoRA, with the one file that it has."""

    model_id: int
    version_id: int
    name: str
    file: Path
    version_name: str = "v1.0"
    base_model: str = "SD 1.5"
    trigger_words: tuple[str, ...] = ()
    preview: Path | None = None
    kind: str = "LORA"

    @property
    def file_id(self) -> int:
        return self.version_id * 10 + 1

    @cached_property
    def sha256(self) -> str:
        with self.file.open("rb") as file:
            return (
                hashlib.file_digest(file, "sha256").hexdigest()
                if hasattr(hashlib, "file_digest")
                else _digest(file)
            )


@dataclass(frozen=True)
class Request:
    """What came in, for tests to look at."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""


def read_catalogue(path: Path) -> list[CatalogueEntry]:
    """The catalogue in a JSON file; see the top of this module."""
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


class CivitaiServer:
    """Serves a catalogue on loopback while its `with` block runs.

    `.url` is the base address, `.requests` every request so far. With `token`, downloads need it.
    Tests subclass it and override `version`, `download` or `deliver` to misbehave.
    """

    def __init__(
        self, catalogue: Iterable[CatalogueEntry], port: int = 0, *, token: str | None = None
    ) -> None:
        self.catalogue: Sequence[CatalogueEntry] = tuple(catalogue)
        self.token = token
        self.requests: list[Request] = []
        self._signatures: dict[str, float] = {}
        self._listener = _Listener(("127.0.0.1", port), _handler_for(self))
        self._thread = threading.Thread(
            target=self._listener.serve_forever,
            kwargs={"poll_interval": 0.02},
            name="civitai-server",
            daemon=True,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.server_port}"

    def __enter__(self) -> CivitaiServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the server; after this, connections are refused."""
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def answer(self, exchange: Exchange) -> None:
        """Sends one request to the method that answers it."""
        routes = (
            (r"/api/v1/model-versions/by-hash/(\w+)", self.by_hash),
            (r"/api/v1/model-versions/(\d+)", self.version),
            (r"/api/v1/models/(\d+)", self.model),
            (r"/api/v1/models", self.search),
            (r"/api/download/models/(\d+)", self.download),
            (r"/delivery/(\d+)/[^/]+", self.deliver),
            (r"/previews/(\d+)", self.preview),
        )
        for pattern, route in routes:
            match = re.fullmatch(pattern, exchange.request.path)
            if match:
                route(exchange, *match.groups())
                return
        exchange.send_json({"error": "Not found"}, HTTPStatus.NOT_FOUND)

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

    def search(self, exchange: Exchange) -> None:
        """GET /api/v1/models?query=&types=&limit="""
        query = exchange.request.query
        words = query.get("query", "").lower()
        found: dict[int, list[CatalogueEntry]] = {}
        for lora in self.catalogue:
            if words in lora.name.lower() and query.get("types", lora.kind) == lora.kind:
                found.setdefault(lora.model_id, []).append(lora)
        models = [self._model_document(versions) for versions in found.values()]
        exchange.send_json({"items": models[: int(query.get("limit", "100"))], "metadata": {}})

    def download(self, exchange: Exchange, version_id: str) -> None:
        """GET /api/download/models/{id}: a redirect to a signed address that lives for an hour."""
        lora = self._find(version_id=int(version_id))
        wanted = exchange.request.query.get("fileId")
        if lora is None or wanted not in (None, str(lora.file_id)):
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
        """GET of a signed address: the bytes, or a range of them."""
        lora = self._find(file_id=int(file_id))
        expires = self._signatures.get(exchange.request.query.get("signature", ""), 0.0)
        if lora is None or expires < time.monotonic():
            exchange.send_json({"error": "Signature expired"}, HTTPStatus.FORBIDDEN)
        else:
            exchange.send_file(lora.file, etag=f'"{lora.sha256[:16]}"')

    def preview(self, exchange: Exchange, file_id: str) -> None:
        """GET of a preview picture."""
        lora = self._find(file_id=int(file_id))
        if lora is None or lora.preview is None:
            exchange.send_json({"error": "Not found"}, HTTPStatus.NOT_FOUND)
        else:
            exchange.send_file(lora.preview)

    def signed_address(self, lora: CatalogueEntry, seconds: float = SIGNATURE_SECONDS) -> str:
        """An address for the file that ends in `seconds`."""
        signature = secrets.token_urlsafe(16)
        self._signatures[signature] = time.monotonic() + seconds
        return f"{self.url}/delivery/{lora.file_id}/{quote(lora.file.name)}?signature={signature}"

    def version_document(self, lora: CatalogueEntry) -> dict[str, Any]:
        """The JSON of a version, with the keys that CivitAI's handler gives today."""
        address = f"{self.url}/api/download/models/{lora.version_id}"
        return {
            "id": lora.version_id,
            "modelId": lora.model_id,
            "name": lora.version_name,
            "status": "Published",
            "publishedAt": "2026-01-01T00:00:00.000Z",
            "trainedWords": list(lora.trigger_words),
            "baseModel": lora.base_model,
            "baseModelType": "Standard",
            "description": None,
            "usageControl": "Download",
            "paidAccess": None,
            "air": f"urn:air:sd1:lora:civitai:{lora.model_id}@{lora.version_id}",
            "stats": {"downloadCount": 0, "thumbsUpCount": 0},
            "model": {"name": lora.name, "type": lora.kind, "nsfw": False, "poi": False},
            "files": [
                {
                    "id": lora.file_id,
                    "sizeKB": lora.file.stat().st_size / 1024,
                    "name": lora.file.name,
                    "type": "Model",
                    "pickleScanResult": "Success",
                    "virusScanResult": "Success",
                    "metadata": {"format": "SafeTensor", "size": None, "fp": None},
                    "hashes": {"AutoV2": lora.sha256[:10].upper(), "SHA256": lora.sha256.upper()},
                    "primary": True,
                    "downloadUrl": address,
                }
            ],
            "images": [] if lora.preview is None else [self._image(lora)],
            "downloadUrl": address,
        }

    def _image(self, lora: CatalogueEntry) -> dict[str, Any]:
        return {"url": f"{self.url}/previews/{lora.file_id}", "type": "image", "nsfwLevel": 1}

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
            "modelVersions": documents,
        }

    def _find(self, **wanted: int) -> CatalogueEntry | None:
        for lora in self.catalogue:
            if all(getattr(lora, name) == value for name, value in wanted.items()):
                return lora
        return None


class Exchange:
    """One request, and the means to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.handler = handler
        parts = urlsplit(handler.path)
        self.request = Request(
            method=handler.command,
            path=unquote(parts.path),
            query={name: values[0] for name, values in parse_qs(parts.query).items()},
            headers={name.lower(): value for name, value in handler.headers.items()},
        )

    def send_head(self, status: int, headers: Mapping[str, object]) -> None:
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name, str(value))
        self.handler.end_headers()

    def send_bytes(self, content: bytes, kind: str, status: int = HTTPStatus.OK, **headers: object) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.send_head(status, {"Content-Type": kind, "Content-Length": len(content), **named})
        self.handler.wfile.write(content)

    def send_json(self, document: object, status: int = HTTPStatus.OK, **headers: object) -> None:
        self.send_bytes(json.dumps(document).encode(), "application/json; charset=utf-8", status, **headers)

    def redirect(self, address: str) -> None:
        self.send_head(HTTPStatus.TEMPORARY_REDIRECT, {"Location": address, "Content-Length": 0})

    def byte_range(self, size: int) -> tuple[int, int] | None:
        """The wanted range as (start, end), end excluded, or None where the whole is wanted."""
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.request.headers.get("range", ""))
        if not match:
            return None
        return int(match[1]), min(int(match[2]) + 1, size) if match[2] else size

    def send_file(self, path: Path, *, etag: str = "") -> None:
        """The file, or the range of it that was asked for."""
        size = path.stat().st_size
        part = self.byte_range(size)
        if part is not None and self.request.headers.get("if-range", etag) != etag:
            part = None
        start, end = part or (0, size)
        if start >= end and size:
            self.send_head(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                {"Content-Range": f"bytes */{size}", "Content-Length": 0},
            )
            return
        headers: dict[str, object] = {
            "Content-Type": mimetypes.guess_type(path.name)[0] or "application/octet-stream",
            "Content-Length": end - start,
            "Accept-Ranges": "bytes",
        }
        if etag:
            headers["ETag"] = etag
        if part is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self.send_head(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK, headers)
        with path.open("rb") as file:
            self.send_range(file, start, end)

    def send_range(self, file: Any, start: int, end: int) -> None:
        self.handler.wfile.flush()
        self.handler.connection.sendfile(file, start, end - start)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a handler that waits for a client which has gone must not keep us
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Clients that hang up are part of the play; the standard library would print a traceback."""


def _handler_for(server: CivitaiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            exchange = Exchange(self)
            server.requests.append(exchange.request)
            server.answer(exchange)

        def log_message(self, *_: object) -> None:
            """Silent: `server.requests` has it all."""

    return Handler


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
