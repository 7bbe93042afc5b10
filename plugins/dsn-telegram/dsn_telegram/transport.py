"""HTTP for the Bot API."""

from __future__ import annotations

import ipaddress
import ssl
import urllib.request
from urllib.parse import urlsplit

import httpx


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def transport_for(api_base: str, certificates: ssl.SSLContext | bool) -> httpx.HTTPTransport:
    """A connection to the Bot API, which is kept between calls.

    httpx's transport, and not its client: the client logs the address of every request, in which the token
    stands, puts it into its exceptions, and follows redirects. It also costs a third of a call's time.
    """
    return httpx.HTTPTransport(
        verify=certificates,
        proxy=_proxy_for(api_base),
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=5.0),
        trust_env=False,
    )


def _proxy_for(api_base: str) -> str | None:
    """The environment's proxy (HTTPS_PROXY, ALL_PROXY, NO_PROXY): how many servers reach Telegram at all.

    A proxy sees the token of a call that is not encrypted; those go to this machine only, and get no proxy.
    """
    address = urlsplit(api_base)
    host = address.hostname or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(address.scheme) or proxies.get("all")
