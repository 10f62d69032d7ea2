"""A local server that responds as Hugging Face's Hub does to huggingface_hub's requests for model files.

    GET  /api/models/{org}/{repo}[/revision/{revision}]       files and model card
    HEAD /{org}/{repo}/resolve/{revision}/{path}              commit, size, and ETag; 302 to the storage for LFS files
    GET  the same                                             302 to a signed address, or the bytes

Sources: https://huggingface.co/docs/hub/api, and the headers that huggingface_hub reads (file_download.py,
utils/_http.py).
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tools.local_server import Exchange, LocalServer, Request

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

__all__ = ["Exchange", "HuggingFaceServer", "Repository", "Request"]


@cache
def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True)
class Repository:
    """One model repository: its files by path, the same at all of its revisions."""

    name: str
    files: Mapping[str, Path]
    revisions: Mapping[str, str] = field(default_factory=lambda: {"main": "1" * 40})
    """Branch or tag → commit."""
    card: Mapping[str, Any] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    in_git: frozenset[str] = frozenset()
    """Paths of small files that are stored in git itself: no SHA-256 as ETag, no redirect."""


class HuggingFaceServer(LocalServer):
    """Serves repositories. `token` can read the private ones, and the gated ones that are in `granted`."""

    def __init__(
        self,
        repositories: Iterable[Repository],
        port: int = 0,
        *,
        token: str | None = None,
        granted: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(port)
        self.repositories = {each.name: each for each in repositories}
        self.token = token
        self.granted = granted
        self._signatures: dict[str, Path] = {}

    def answer(self, exchange: Exchange) -> None:
        routes = (
            (r"/api/models/([^/]+/[^/]+?)(?:/revision/(.+))?", self.repository),
            (r"/([^/]+/[^/]+)/resolve/((?:refs/[^/]+/)?[^/]+)/(.+)", self.resolve),
            (r"/storage/(.+)", self.deliver),
        )
        for pattern, route in routes:
            match = re.fullmatch(pattern, exchange.request.path)
            if match:
                route(exchange, *match.groups())
                return
        super().answer(exchange)

    def repository(self, exchange: Exchange, name: str, revision: str | None) -> None:
        """Files and model card."""
        repository = self._readable(exchange, name, revision or "main", of_file=False)
        if repository is None:
            return
        exchange.send_json(
            {
                "_id": "0",
                "id": name,
                "modelId": name,
                "sha": self._commit(repository, revision or "main"),
                "private": repository.private,
                "gated": "manual" if repository.gated else False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
                "cardData": dict(repository.card),
                "siblings": [{"rfilename": path} for path in repository.files],
            }
        )

    def resolve(self, exchange: Exchange, name: str, revision: str, path: str) -> None:
        """Commit, size, and ETag of a file, and the address of its bytes."""
        repository = self._readable(exchange, name, revision, of_file=True)
        if repository is None:
            return
        file = repository.files.get(path)
        if file is None:
            self._refuse(exchange, HTTPStatus.NOT_FOUND, "EntryNotFound", "Entry not found")
            return
        commit = {"X-Repo-Commit": self._commit(repository, revision), "Accept-Ranges": "bytes"}
        if path in repository.in_git:
            etag = hashlib.sha1(file.read_bytes()).hexdigest()  # noqa: S324 - the hash that git uses
            headers = {**commit, "ETag": f'"{etag}"', "Content-Length": file.stat().st_size}
            if exchange.request.method == "HEAD":
                exchange.send_head(HTTPStatus.OK, headers)
            else:
                exchange.send_file(file, etag=f'"{etag}"')
            return
        signature = secrets.token_urlsafe(12)
        self._signatures[signature] = file
        exchange.send_head(
            HTTPStatus.FOUND,
            {
                **commit,
                "X-Linked-Size": file.stat().st_size,
                "X-Linked-ETag": f'"{_sha256(file)}"',
                # On another host, like the Hub's storage: huggingface_hub itself follows redirects to the same host.
                "Location": f"{self.url.replace('127.0.0.1', 'localhost')}/storage/{file.name}?signature={signature}",
                "Content-Length": 0,
            },
        )

    def deliver(self, exchange: Exchange, name: str) -> None:
        """GET of a signed address of the storage."""
        file = self._signatures.get(exchange.request.query.get("signature", ""))
        if file is None or file.name != name:
            exchange.send_json({"error": "AccessDenied"}, HTTPStatus.FORBIDDEN)
        else:
            exchange.send_file(file, etag=f'"{_sha256(file)[:16]}"')

    def _readable(self, exchange: Exchange, name: str, revision: str, *, of_file: bool) -> Repository | None:
        repository = self.repositories.get(name)
        given = exchange.request.headers.get("authorization")
        known = self.token is not None and given == f"Bearer {self.token}"
        if given is not None and not known:
            message = "Invalid credentials in Authorization header"
            self._refuse(exchange, HTTPStatus.UNAUTHORIZED, "", message)
        elif repository is None or (repository.private and not known):
            status = HTTPStatus.NOT_FOUND if known else HTTPStatus.UNAUTHORIZED
            self._refuse(exchange, status, "RepoNotFound", "Repository not found")
        elif repository.gated and of_file and not (known and name in self.granted):
            status = HTTPStatus.FORBIDDEN if known else HTTPStatus.UNAUTHORIZED
            self._refuse(exchange, status, "GatedRepo", "Access to this model is restricted")
        elif self._commit(repository, revision) is None:
            self._refuse(exchange, HTTPStatus.NOT_FOUND, "RevisionNotFound", "Invalid rev id")
        else:
            return repository
        return None

    @staticmethod
    def _commit(repository: Repository, revision: str) -> str | None:
        if revision in repository.revisions.values():
            return revision
        return repository.revisions.get(revision)

    @staticmethod
    def _refuse(exchange: Exchange, status: int, code: str, message: str) -> None:
        headers: dict[str, object] = {"X_Error_Message": message}
        if code:
            headers["X_Error_Code"] = code
        exchange.send_json({"error": message}, status, **headers)
