"""Keeps signed addresses out of what the HTTP libraries log of our own requests.

At level DEBUG, urllib3 logs the address of every request and httpcore the headers of every answer, `Location` included.
What stands behind the `?` there opens a private file to anybody for as long as it lives, and ComfyUI's log is a page
that people paste into bug reports. Records of other programs' requests are left as they are.

The drivers of shared stores log what they sign requests with, from threads of their own, so they say less altogether.
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

# The loggers that write addresses. huggingface_hub brings httpx under either name. A filter counts for its own logger
# alone and not for those below, so each is named.
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

# The drivers of shared stores write at DEBUG what they sign requests with, in threads of their own.
_DRIVERS = ("adlfs", "aiobotocore", "azure", "botocore", "fsspec", "gcsfs", "google.auth", "s3fs")

_this_thread = threading.local()


@contextlib.contextmanager
def queries_hidden() -> Iterator[None]:
    """While it lasts, what these libraries log in this thread has `?…` in place of every query."""
    _watch_loggers()
    before = getattr(_this_thread, "hides", False)
    _this_thread.hides = True
    try:
        yield
    finally:
        _this_thread.hides = before


@functools.cache
def drivers_hushed() -> None:
    """From now on, the drivers of shared stores log nothing below INFO, unless somebody has set their level."""
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
