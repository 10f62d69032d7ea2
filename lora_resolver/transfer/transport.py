"""The only code that talks to the network.

    Transport.get_json(url)  → Answer        a service's JSON, with retries
    Transport.open(url)      → Download      bytes as they arrive, for the download engine

Rules for every request:
- A token is sent as a Bearer header to its service's own origin and nowhere else, also on redirects. It is never part
  of an address, because addresses are logged. `.netrc` and cookies aren't used.
- At most five redirects are followed. This module follows them itself, and `address_rules` checks each one.
- The `CancelToken` can shut down every socket: a server that stalls can't block a worker.
- No exception or log line contains a query string, including those of the libraries used here: signed addresses are
  secrets until they expire. If a server repeats a token in its response, the token is removed before anything reads it.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
import weakref
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.cookies import RequestsCookieJar
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from ..config import SHORTEST_TOKEN
from ..errors import LoraResolverError, TransferFailed
from ..safe_files import parse_json, whole_number
from ..text import version
from .address_rules import check_address, check_peer, token_for
from .log_privacy import queries_hidden
from .tasks import Cancelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..config import ResolverConfig
    from .address_rules import Service
    from .tasks import CancelToken

__all__ = ["Answer", "Download", "ServerBusy", "Transport", "shown_address"]

MAX_REDIRECTS = 5
MAX_JSON_BYTES = 16 * 1024**2
MAX_ANSWER_SECONDS = 60.0
"""Seconds that reading a whole response may take. Model pages with hundreds of versions reach a few MB."""
MAX_RETRY_AFTER = 60.0
"""Seconds that we wait if a server asks for it. If it asks for more, the request fails with an error."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# The last six are Cloudflare's: it can't reach the service at the moment.
_MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 530})

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """A service's response: status, headers (names in lowercase), and its JSON, or None if it didn't send any."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: Any = None
    text: str = ""

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait (RFC 9110, 10.2.3), if any."""
        value = self.headers.get("retry-after", "").strip()
        seconds = whole_number(value)
        if seconds is not None:
            return float(seconds)
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
        return None


class ServerBusy(TransferFailed):
    """The server reports that the same request may succeed later."""

    retry_after: float | None = None
    """Seconds that the server asks to wait, if any."""


class Download:
    """A response whose body hasn't been read yet. Use it in a `with` statement; leaving it closes the connection."""

    def __init__(
        self, response: requests.Response, cancel: CancelToken, services: Sequence[Service] = ()
    ) -> None:
        self._response = response
        self._cancel = cancel
        self._services = services
        self.url = response.url
        self.status = response.status_code
        self.headers: dict[str, str] = {name.lower(): value for name, value in response.headers.items()}

    def __enter__(self) -> Download:
        return self

    def __exit__(self, *_: object) -> None:
        self._response.close()

    @property
    def encoded(self) -> bool:
        """Whether the body is compressed in transit, so that lengths and ranges don't apply to the file."""
        return self.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")

    @property
    def length(self) -> int | None:
        """The number of bytes that the server announces for this body."""
        value = self.headers.get("content-length", "").strip()
        return None if self.encoded else whole_number(value)

    def chunks(self, size: int = 1 << 20) -> Iterator[bytes]:
        """The body, decompressed. Raises TransferFailed if the connection is lost, Cancelled if the work must stop."""
        with _plain_errors(self.url, self._cancel):
            while True:
                self._cancel.check()
                # read1 returns what is available, so progress is smooth and a slow server can't delay a stop.
                # Without a decoder, it returns the bytes without copying them.
                chunk = self._response.raw.read1(size, decode_content=self.encoded)
                if not chunk:
                    break
                yield chunk
        self._cancel.check()

    def answer(self) -> Answer:
        """The whole body, for responses that aren't files: errors and JSON."""
        data = bytearray()
        latest = time.monotonic() + MAX_ANSWER_SECONDS
        for chunk in self.chunks():
            data += chunk
            if len(data) > MAX_JSON_BYTES:
                raise _failed(self.url, "sent a response that is too large", "badAnswer")
            if time.monotonic() > latest:
                raise _failed(self.url, "responds too slowly", "tooSlow")
        text = _without_tokens(bytes(data).decode("utf-8", errors="replace"), self._services)
        try:
            body = parse_json(text)
        except ValueError:
            body = None
        return Answer(self.url, self.status, self.headers, body, text)


class Transport:
    """Requests for one unit of work. Ends with it, or when `cancel` is triggered."""

    def __init__(self, config: ResolverConfig, services: Sequence[Service], cancel: CancelToken) -> None:
        self._config = config
        self._services = tuple(services)
        self._cancel = cancel
        self._sockets = _OpenSockets(self._services)
        self._session = _Session()
        self._session.auth = _TokenForOwnHosts(self._services)
        self._session.headers.update(
            {
                "User-Agent": f"air-lora/{version()} (+https://github.com/air-lora/air-lora)",
                "Accept-Encoding": "identity",
            }
        )
        self._session.cookies = _NoCookies()
        adapter = _Adapter(self._sockets, pool_maxsize=max(10, config.connections * 4))
        self._session.mount("https://", adapter)
        self._session.mount("http://", adapter)
        cancel.also(self._sockets.shut)

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def fork(self, cancel: CancelToken) -> Transport:
        """A transport with the same settings and separate connections, which another `cancel` ends."""
        return Transport(self._config, self._services, cancel)

    def has_token(self, url: str) -> bool:
        """Whether requests to this address carry a token."""
        return token_for(url, self._services) is not None

    def open(
        self, url: str, headers: Mapping[str, str] | None = None, *, given_by_server: bool = False
    ) -> Download:
        """Sends a GET request and follows its redirects. Doesn't read the body yet.

        `given_by_server` applies the rules for redirects to the address itself.
        Raises TransferFailed if there is no response or a redirect must not be followed.
        """
        url = _as_sent(url)
        if given_by_server:
            check_address(url, self._services)
        seen = {url}
        for _ in range(MAX_REDIRECTS + 1):
            download = Download(self._send(url, headers or {}), self._cancel, self._services)
            location = download.headers.get("location")
            if download.status not in _REDIRECTS or not location:
                return download
            download.__exit__()
            url = _as_sent(urljoin(url, location))
            check_address(url, self._services)
            if url in seen:
                break
            seen.add(url)
        raise _failed(url, "redirected too many times", "redirectLoop")

    def get_json(self, url: str, params: Mapping[str, str] | None = None) -> Answer:
        """Sends a request to a service, with retries. Returns responses with any status, for the source to interpret.

        Raises TransferFailed if the service can't be reached or sends something other than JSON.
        """
        if params:
            url = requests.Request("GET", url, params=dict(params)).prepare().url or url
        for attempt in range(self._config.tries):
            last = attempt == self._config.tries - 1
            try:
                with self.open(url) as download:
                    answer = download.answer()
            except TransferFailed as error:
                if last or error.code in ("redirectRefused", "redirectLoop"):
                    raise
                self.pause(attempt)
                continue
            if answer.status not in _MAY_PASS:
                break
            if last or (answer.retry_after or 0) > MAX_RETRY_AFTER:
                raise refused_for_now(answer)
            self.pause(attempt, answer.retry_after)
        if answer.status == 200 and not isinstance(answer.body, (dict, list)):
            raise _failed(
                url,
                f"sent {answer.headers.get('content-type') or 'an unknown format'} instead of JSON",
                "badAnswer",
                "Open the site in a browser. It might show a login page, a regional block, or a maintenance notice.",
            )
        return answer

    def pause(self, attempt: int, wanted: float | None = None) -> None:
        """Waits before another try: as long as the server asks, otherwise longer each time."""
        own = self._config.retry_delay * min(2**attempt, 30)
        self._cancel.wait(own if wanted is None else min(wanted, MAX_RETRY_AFTER))

    def _send(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        self._cancel.check()
        timeout = (self._config.connect_timeout, self._config.read_timeout)
        with _plain_errors(url, self._cancel), queries_hidden():
            return self._session.get(
                url, headers=dict(headers), stream=True, timeout=timeout, allow_redirects=False
            )


def _as_sent(url: str) -> str:
    """The address as `requests` sends it, so that the address that is checked is the one that is requested.

    Raises TransferFailed for one that its parser and Python's read differently (`http://one.example\\@other.example/`).
    """
    if not url.lower().startswith(("http:", "https:")):
        return url  # `check_address` rejects it
    try:
        prepared = requests.Request("GET", url).prepare().url or ""
        asked, judged = parse_url(prepared).host, urlsplit(prepared).hostname
    except (ValueError, requests.RequestException, LocationParseError):
        asked, judged, prepared = None, "", ""
    if asked is None or asked.strip("[]").lower() != judged or "\\" in url.partition("?")[0]:
        raise _failed(url, "isn't a valid address", "redirectRefused", "Check the address.")
    return prepared


def may_pass(status: int) -> bool:
    """Whether the same request may succeed later."""
    return status in _MAY_PASS


def refused_for_now(answer: Answer) -> ServerBusy:
    """The error for a temporary failure that remains after every try."""
    host, wait = urlsplit(answer.url).netloc, answer.retry_after
    if answer.status == 429:
        seconds = f"{wait or 0:.0f}"
        when = f"in {seconds} second{'' if seconds == '1' else 's'}" if wait else "in a few minutes"
        error = ServerBusy(
            f"Rate limit of {host} reached (429)", code="rateLimited", remedy=f"Try again {when}."
        )
    else:
        error = ServerBusy(
            f"Server error from {host} ({answer.status})",
            code="serverError",
            remedy="Try again later. Interrupted downloads resume.",
        )
    error.retry_after = wait
    return error


def shown_address(url: str) -> str:
    """An address that is safe to show: without user, password, query, and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _without_tokens(text: str, services: Sequence[Service]) -> str:
    for service in services:
        if service.token and len(service.token) >= SHORTEST_TOKEN:
            text = text.replace(service.token, "…")
    return text


class _TokenForOwnHosts(AuthBase):
    """Adds the Bearer header for the token's own service. Setting `auth` also keeps requests from reading `.netrc`."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        token = token_for(request.url or "", self._services)
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
        return request


class _Session(requests.Session):
    """Leaves redirects to `Transport.open`. The library would process the next address before it is checked."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Returns None, so that the library follows no redirect."""


class _NoCookies(RequestsCookieJar):
    """Forgets every cookie."""

    def set_cookie(self, *_: Any, **__: Any) -> None:
        """Drops the cookie."""


class _OpenSockets:
    """The sockets of one transport: checked when they connect, shut down when the work is stopped."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._lock = threading.Lock()
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def opened(self, host: str, opened: socket.socket, *, through_proxy: bool) -> None:
        with self._lock:
            self._sockets.add(opened)
        if not through_proxy:  # otherwise the peer is the user's proxy, which may be on the local network
            check_peer(host, opened.getpeername()[0], self._services)

    def shut(self) -> None:
        with self._lock:
            sockets = list(self._sockets)
        for each in sockets:
            with contextlib.suppress(OSError):
                # The plain socket's method: SSLSocket's own would drop state that the reading thread still uses.
                socket.socket.shutdown(each, socket.SHUT_RDWR)


class _WatchedHTTP(HTTPConnection):
    sockets: ClassVar[_OpenSockets]

    def connect(self) -> None:
        super().connect()
        self.sockets.opened(self.host, self.sock, through_proxy=self.proxy is not None)


class _WatchedHTTPS(HTTPSConnection):
    sockets: ClassVar[_OpenSockets]

    def connect(self) -> None:
        super().connect()
        self.sockets.opened(self.host, self.sock, through_proxy=self.proxy is not None)


class _Adapter(HTTPAdapter):
    """Creates connections that report their socket, through urllib3's own `pool_classes_by_scheme`."""

    def __init__(self, sockets: _OpenSockets, **options: Any) -> None:
        http = type("_HTTP", (_WatchedHTTP,), {"sockets": sockets})
        https = type("_HTTPS", (_WatchedHTTPS,), {"sockets": sockets})
        self._pools = {
            "http": type("_HTTPPool", (urllib3.HTTPConnectionPool,), {"ConnectionCls": http}),
            "https": type("_HTTPSPool", (urllib3.HTTPSConnectionPool,), {"ConnectionCls": https}),
        }
        super().__init__(**options)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        if not hasattr(manager, "proxy_url"):  # a SOCKS proxy uses its own kind of connection
            manager.pool_classes_by_scheme = self._pools
        return manager


@contextlib.contextmanager
def _plain_errors(url: str, cancel: CancelToken) -> Iterator[None]:
    """Turns the library's exceptions into ours. Uses `from None`, because theirs contain whole addresses."""
    try:
        yield
    except (LoraResolverError, Cancelled, GeneratorExit):
        raise
    except (
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        OSError,
        ValueError,
        AttributeError,
    ) as error:
        # AttributeError: http.client reads a response whose socket `CancelToken` has just shut down.
        if cancel.requested:
            raise Cancelled from None
        if isinstance(error, AttributeError):
            raise
        _log.debug("%s: %s", shown_address(url), type(error).__name__)
        raise _explained(url, error) from None


def _explained(url: str, error: Exception) -> LoraResolverError:
    causes = [*_chain(error)]
    for cause in causes:
        if isinstance(cause, LoraResolverError):
            return cause
    remedy = "Check your network connection and try again. Interrupted downloads resume."
    if any(isinstance(cause, (socket.gaierror, urllib3.exceptions.NameResolutionError)) for cause in causes):
        return _failed(url, "can't be reached: could not resolve the host name", "connectionFailed", remedy)
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return _failed(url, "refused the connection", "connectionFailed", remedy)
    timeouts = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
    if any(isinstance(cause, timeouts) for cause in causes):
        return _failed(url, "didn't respond in time", "timedOut", remedy)
    if any(
        isinstance(cause, (requests.exceptions.SSLError, urllib3.exceptions.SSLError)) for cause in causes
    ):
        return _failed(
            url,
            "has an untrusted TLS certificate",
            "connectionFailed",
            "Check this computer's clock. If you use a proxy, it might require REQUESTS_CA_BUNDLE.",
        )
    return _failed(url, "closed the connection unexpectedly", "connectionLost", remedy)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and everything that it wraps, including the libraries' own ways of wrapping."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if not isinstance(each, BaseException) or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]


def _failed(url: str, what: str, code: str, remedy: str = "Try again later.") -> TransferFailed:
    try:
        host = urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:  # such as https://[::1/
        host = ""
    return TransferFailed(f"{host or 'The address'} {what}", code=code, remedy=remedy)
