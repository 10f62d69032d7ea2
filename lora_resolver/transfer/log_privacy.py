"""Keeps signed addresses out of what the HTTP libraries log about our requests.

At level DEBUG, urllib3 logs the address of every request, and httpcore logs the headers of every response, including
`Location`. The query of such an address gives anybody access to a private file until it expires, and people paste
ComfyUI's log into bug reports. Log records about other programs' requests aren't changed.

The drivers of shared stores log what they sign requests with, from their own threads, so their log level is raised.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import re
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["drivers_hushed", "queries_hidden"]

# The loggers that write addresses. huggingface_hub uses httpx under either name. A filter applies only to its own
# logger and not to child loggers, so each logger is listed.
_LOGGERS = (
    "urllib3.connectionpool",
    "urllib3.util.retry",
    "huggingface_hub.utils._http",
    *(f"httpx{version}" for version in ("", "2")),
    *(
        f"httpcore{version}.{part}"
        for version in ("", "2")
        for part in ("connection", "http11", "http2", "proxy", "socks")
    ),
)
_QUERY = re.compile(r"\?[^\s'\"]+")

# At level DEBUG, the drivers of shared stores log what they sign requests with, from their own threads.
_DRIVERS = ("adlfs", "aiobotocore", "azure", "botocore", "fsspec", "gcsfs", "google.auth", "s3fs")

_this_thread = threading.local()


@contextlib.contextmanager
def queries_hidden() -> Iterator[None]:
    """Within this context, these libraries log `?…` instead of every query in this thread."""
    _watch_loggers()
    before = getattr(_this_thread, "hides", False)
    _this_thread.hides = True
    try:
        yield
    finally:
        _this_thread.hides = before


@functools.cache
def drivers_hushed() -> None:
    """From now on, the drivers of shared stores log nothing below INFO, unless their level was set explicitly."""
    for name in _DRIVERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)


@functools.cache
def _watch_loggers() -> None:
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_hide_queries)


def _hide_queries(record: logging.LogRecord) -> bool:
    if getattr(_this_thread, "hides", False):
        record.msg, record.args = _QUERY.sub("?…", record.getMessage()), ()
    return True
