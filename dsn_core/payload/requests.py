"""Requests and URLs without tokens, such as those in links that reset a password."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

from django.urls import ResolverMatch, resolve

from dsn_core.payload import sensitive

HIDDEN: Final = "***"
#: The least length of a secret that is searched for inside other texts.
MIN_PART: Final = 4
#: The token in Django's reset links.
_RESET_TOKEN: Final = re.compile(r"[0-9a-z]{1,13}-[0-9a-f]{32,128}")
#: Keys of headers and environments whose values are URLs, or their queries.
_ADDRESSES: Final = frozenset({"referer", "http_referer", "location", "request_uri", "raw_uri"})
_QUERIES: Final = frozenset({"query_string"})


def request_summary(value: Mapping[Any, Any]) -> dict[str, Any] | None:
    """A summary of a WSGI environ or an ASGI scope, without its cookies and credentials; None for other mappings."""
    if "wsgi.version" in value:
        method, path, address = (value.get(key) for key in ("REQUEST_METHOD", "PATH_INFO", "REMOTE_ADDR"))
    elif "asgi" in value and "headers" in value:
        method, path, address = value.get("method"), value.get("path"), (value.get("client") or [None])[0]
    else:
        return None
    return {"method": method or "", "path": safe_path(path or ""), "address": address or ""}


def safe_path(path: str, match: ResolverMatch | None = None) -> str:
    """``path``, with parts masked that its URL pattern captures under a sensitive name, and Django's reset tokens."""
    if match is None:
        # There may be no such page, or URLs that cannot be imported, which the request's view reports.
        with contextlib.suppress(Exception):
            match = resolve(path)
    names = sensitive.names()
    captured = match.kwargs if match else {}
    secrets = [str(value) for name, value in captured.items() if sensitive.is_sensitive(name, names)]
    steps = [HIDDEN if step in secrets or _RESET_TOKEN.fullmatch(step) else step for step in path.split("/")]
    # A pattern may capture several steps, or part of one.
    found = "/".join(steps)
    for secret in secrets:
        if len(secret) >= MIN_PART:
            found = found.replace(secret, HIDDEN)
    return found


def safe_query(query: str) -> str:
    """A query such as ``a=1&token=x``, with the values of sensitive names masked."""
    names = sensitive.names()

    def shown(pair: str) -> str:
        name, sign, _ = pair.partition("=")
        return f"{name}{sign}{HIDDEN}" if sign and sensitive.is_sensitive(unquote_plus(name), names) else pair

    return "&".join(map(shown, query.split("&")))


def safe_address(address: str) -> str:
    """A URL, whole or from its path on, without tokens in its path and query."""
    rest, mark, query = address.partition("?")
    scheme, two, tail = rest.rpartition("://")
    host, slash, path = tail.partition("/")
    return f"{scheme}{two}{host}{safe_path(slash + path)}{mark}{safe_query(query)}"


def how_to_show(key: object) -> Callable[[str], str] | None:
    """The function that masks the value of a header or environment variable, if it is a URL or a query; else None."""
    lowered = key.lower() if type(key) is str else ""
    return safe_address if lowered in _ADDRESSES else safe_query if lowered in _QUERIES else None
