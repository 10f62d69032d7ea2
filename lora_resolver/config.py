"""The configuration of a resolver: folders, base addresses, tokens, limits."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .errors import InvalidInput
from .identifiers.addresses import know_mirror
from .safe_files import MOST_BYTES, read_bounded, whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KINDS", "PICTURE_LEVELS", "SHORTEST_TOKEN", "ResolverConfig"]

SHORTEST_TOKEN = 6
"""Characters. No service has shorter tokens, and a shorter text would also be found inside words."""

CIV_ARCHIVE = "https://civarchive.com/api"

KINDS: Mapping[str, str] = {
    "lora": "LoRA",
    "checkpoint": "checkpoint",
    "vae": "VAE",
    "text_encoder": "text encoder",
    "embedding": "embedding",
}
"""Kind → its name in messages. A request names LoRAs and also the files that they are used with."""

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


PICTURE_LEVELS: Mapping[str, int] = {"PG": 1, "PG13": 2, "R": 4, "X": 8, "XXX": 16}
"""CivitAI's content levels of pictures: name → number."""

_MOST = {"AIR_LORA_CONNECTIONS": 64, "AIR_LORA_MAX_BYTES": MOST_BYTES}


@dataclass(frozen=True)
class ResolverConfig:
    """All settings of a `Resolver`. The resolver itself doesn't read environment variables.

    `repr()` omits the tokens, so a logged configuration doesn't reveal them.
    """

    download_dir: Path
    """New files are stored below `air/` in this folder."""
    search_dirs: tuple[Path, ...] = ()
    """Folders with LoRAs that the user already has. `download_dir` is always searched first."""
    civitai_url: str = "https://civitai.com"
    hf_endpoint: str = "https://huggingface.co"
    archive_url: str | None = None
    """Base address of CivArchive's API, searched by SHA-256 for files that CivitAI no longer has. None: not used."""
    store: str | None = None
    """Address of a store that several machines share, read before a source and filled after downloads. None: unused."""
    civitai_token: str | None = field(default=None, repr=False)
    hf_token: str | None = field(default=None, repr=False)
    kind: str = "lora"
    """What the identifiers name: one of `KINDS`."""
    offline: bool = False
    connections: int = 4
    """Ranges of one file that are fetched at the same time."""
    max_bytes: int = 16 * 1024**3
    """Larger files are rejected."""
    picture_level: int = PICTURE_LEVELS["PG"]
    """Preview pictures above this level aren't saved, and are shown blurred."""
    state_dir: Path | None = None
    """Folder for the index and `aliases.json`; None: `air/` in `download_dir`."""
    connect_timeout: float = 10.0
    """Seconds to wait for a connection to a server."""
    read_timeout: float = 30.0
    """Seconds without any data after which a connection counts as dead."""
    min_bytes_per_second: int = 1024
    """A connection that is slower than this over `read_timeout` also counts as dead."""
    min_piece_bytes: int = 4 * 1024**2
    """The smallest range that gets its own request."""
    tries: int = 5
    """How many times in a row a request that may succeed later is sent without receiving new bytes."""
    retry_delay: float = 1.0
    """Seconds before the second try. The delay doubles with each further try, up to 30 times as long."""

    def __post_init__(self) -> None:
        folders = dict.fromkeys([Path(self.download_dir), *(Path(folder) for folder in self.search_dirs)])
        object.__setattr__(self, "download_dir", Path(self.download_dir))
        object.__setattr__(self, "search_dirs", tuple(folders))
        object.__setattr__(self, "civitai_url", _base_address("AIR_LORA_CIVITAI_URL", self.civitai_url))
        object.__setattr__(self, "hf_endpoint", _base_address("HF_ENDPOINT", self.hf_endpoint))
        know_mirror(self.hf_endpoint)
        if self.archive_url is not None:
            object.__setattr__(self, "archive_url", _base_address("AIR_LORA_ARCHIVE", self.archive_url))
        if self.store is not None:
            object.__setattr__(self, "store", check_address(self.store))
        object.__setattr__(self, "civitai_token", _token("CIVITAI_API_TOKEN", self.civitai_token))
        object.__setattr__(self, "hf_token", _token("HF_TOKEN", self.hf_token))
        if not 1 <= self.connections <= _MOST["AIR_LORA_CONNECTIONS"]:
            raise _bad_setting("AIR_LORA_CONNECTIONS", str(self.connections), _wanted("AIR_LORA_CONNECTIONS"))

    @property
    def state(self) -> Path:
        """The folder for the index and `aliases.json`."""
        return self.state_dir if self.state_dir is not None else self.download_dir / "air"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], **overrides: Any) -> ResolverConfig:
        """The configuration from the environment variables that docs/settings.md lists. `overrides` are fields and win.

        Raises InvalidInput for a value that isn't a valid number, switch, or address.
        """
        fields: dict[str, Any] = {"download_dir": _download_dir(environ)}
        for key, name in (
            ("AIR_LORA_CIVITAI_URL", "civitai_url"),
            ("HF_ENDPOINT", "hf_endpoint"),
            ("AIR_LORA_STORE", "store"),
            ("CIVITAI_API_TOKEN", "civitai_token"),
            ("HUGGING_FACE_HUB_TOKEN", "hf_token"),
            ("HF_TOKEN", "hf_token"),
        ):
            if environ.get(key, "").strip():
                fields[name] = environ[key].strip()
        if "hf_token" not in fields:
            fields["hf_token"] = _saved_hf_token(environ)
        if "AIR_LORA_OFFLINE" in environ:
            fields["offline"] = _switch("AIR_LORA_OFFLINE", environ["AIR_LORA_OFFLINE"])
        if environ.get("AIR_LORA_PICTURES", "").strip():
            fields["picture_level"] = _picture_level(environ["AIR_LORA_PICTURES"])
        if "AIR_LORA_ARCHIVE" in environ:
            fields["archive_url"] = _archive(environ["AIR_LORA_ARCHIVE"])
        for key, name in (("AIR_LORA_CONNECTIONS", "connections"), ("AIR_LORA_MAX_BYTES", "max_bytes")):
            if environ.get(key, "").strip():
                fields[name] = _whole_number(key, environ[key])
        return cls(**{**fields, **overrides})

    def with_changes(self, **changes: Any) -> ResolverConfig:
        """A copy with some fields changed."""
        return replace(self, **changes)


def _download_dir(environ: Mapping[str, str]) -> Path:
    named = environ.get("AIR_LORA_DIR", "").strip()
    if named:
        return Path(named).expanduser()
    # The system's folder for a user's application data: the XDG Base Directory Specification, or Windows.
    data = environ.get("XDG_DATA_HOME") or environ.get("LOCALAPPDATA")
    return (Path(data) if data else Path.home() / ".local" / "share") / "air-lora" / "loras"


def _saved_hf_token(environ: Mapping[str, str]) -> str | None:
    """The token that `hf auth login` saved, read from the same place as huggingface_hub reads it."""
    if environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").strip().upper() in ("1", "ON", "YES", "TRUE"):
        return None
    home = environ.get("HF_HOME") or Path(environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    try:
        path = Path(environ.get("HF_TOKEN_PATH") or Path(home) / "token").expanduser()
        return "".join(read_bounded(path, 10_000).decode("utf-8").split()) or None
    except (OSError, ValueError, RuntimeError):  # RuntimeError: there is no home folder
        return None


def _archive(text: str) -> str | None:
    """The address that AIR_LORA_ARCHIVE selects: 1 for CivArchive, or the address of a service with the same API."""
    word = text.strip()
    if word.lower() in _FALSE:
        return None
    return CIV_ARCHIVE if word.lower() in _TRUE else word


def _base_address(key: str, text: str) -> str:
    address = text.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - raises ValueError for a port that isn't a number
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise _bad_setting(
            key, text, "an address such as https://civitai.com without a user name or password"
        )
    return address


def _token(key: str, text: str | None) -> str | None:
    token = (text or "").strip()
    if not token.isascii() or not token.isprintable() or " " in token:
        # The message doesn't contain the value, which may be a real token with a typing error.
        raise InvalidInput(
            f"{key} contains characters that aren't allowed in a token",
            code="invalidSetting",
            remedy="Copy it again from your account page, without quotation marks or line breaks.",
        )
    return token or None


def _switch(key: str, text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise _bad_setting(key, text, "1 or 0")
    return word in _TRUE


def _picture_level(text: str) -> int:
    level = PICTURE_LEVELS.get(text.strip().upper().replace("-", ""))
    if level is None:
        raise _bad_setting("AIR_LORA_PICTURES", text[:40], f"one of {', '.join(PICTURE_LEVELS)}")
    return level


def _whole_number(key: str, text: str) -> int:
    number = whole_number(text.strip(), _MOST[key], least=1)
    if number is None:
        raise _bad_setting(key, text[:40], _wanted(key))
    return number


def _wanted(key: str) -> str:
    return f"a whole number from 1 to {_MOST[key]:,}"


def _bad_setting(key: str, text: str, wanted: str) -> InvalidInput:
    return InvalidInput(
        f"{key}: {text!r} isn't {wanted}", code="invalidSetting", remedy=f"Set it to {wanted}."
    )


KEY = "AIR_LORA_STORE"


_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters or more, since C:\ begins a path


_STORE_WANTED = "an address such as s3://bucket/loras, gs://bucket/loras, or file:///mnt/loras"


def check_address(text: str) -> str:
    """The address without a slash at its end.

    Raises InvalidInput for an invalid address, and for one with a user name, a password, or a query. The message
    doesn't repeat the address, which may contain a secret.
    """
    address = text.strip()
    scheme = _SCHEME.match(address)
    if scheme is None:
        plain_path = (
            address.startswith(("/", "~", "\\\\")) or re.match(r"[A-Za-z]:[\\/]", address) is not None
        )
        if plain_path and address.isprintable():
            return address.rstrip("/") or "/"
        raise _bad(f"isn't {_STORE_WANTED}", f"Set it to {_STORE_WANTED}.")
    try:
        parts = urlsplit(address)
    except ValueError:
        raise _bad(f"isn't {_STORE_WANTED}", f"Set it to {_STORE_WANTED}.") from None
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise _bad(
            "contains a user name, a password, or a query",
            "Remove it. Drivers read credentials from their own variables, such as AWS_ACCESS_KEY_ID.",
        )
    if "::" in address or not address.isprintable() or len(address) <= len(scheme[0]):
        raise _bad(f"isn't {_STORE_WANTED}", f"Set it to {_STORE_WANTED}.")
    return address.rstrip("/") if len(address.rstrip("/")) > len(scheme[0]) else address


def protocol_of(address: str) -> str:
    """ "s3" of "s3://bucket/loras", "file" of a path."""
    scheme = _SCHEME.match(address)
    return scheme[1].lower() if scheme else "file"


def is_local(address: str) -> bool:
    """Whether the address is a path in this machine's file system, mounts included."""
    return protocol_of(address) in ("file", "local")


def shown_address(address: str) -> str:
    """The address as messages and logs show it. A path on this machine is private and isn't shown."""
    return "the folder in AIR_LORA_STORE" if is_local(address) else address


def _bad(what: str, remedy: str) -> InvalidInput:
    return InvalidInput(f"{KEY} {what}", code="invalidSetting", remedy=remedy)
