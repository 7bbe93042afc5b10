"""Makes the MIME form of e-mails as Django does, for less, and encodes single headers and bodies.

Since Django 6.0 mail is built with Python's modern e-mail policy, which makes a class, and parses, for every header.
Both are remembered here. That policy also encodes a link that is longer than a line, which RFC 2369 forbids for
List-Unsubscribe and similar headers; here it stays whole. And Python looks for a boundary that no part contains by
compiling a pattern for each message and searching its whole text; here 128 random bits are enough. Apart from these
links and the boundary, the same bytes are sent.
"""

from __future__ import annotations

import inspect
import re
import secrets
from email.headerregistry import AddressHeader, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import MIMEPart
from email.policy import SMTP, EmailPolicy, Policy, compat32
from email.policy import default as default_policy
from functools import lru_cache
from typing import Any, Final

from django.core import mail
from django.core.mail import EmailMultiAlternatives

#: Headers that many messages share. Others may hold what is one receiver's own, and are not kept in memory.
_SHARED: Final = frozenset(
    {"from", "reply-to", "auto-submitted", "mime-version", "content-type", "content-transfer-encoding"}
)
#: A comma that ends one link and is no part of it.
_BETWEEN_LINKS: Final = re.compile(r"(?<=>)\s*,\s*")


class _LinkHeader(UnstructuredHeader):
    """Links in angle brackets (RFC 2369): never encoded, never broken within a link."""

    def fold(self: Any, *, policy: Policy[Any]) -> str:
        """The header as it is sent."""
        if not self.isascii():
            return BaseHeader.fold(self, policy=policy)
        links = f",{policy.linesep} ".join(_BETWEEN_LINKS.split(self))
        return f"{self.name}: {links}{policy.linesep}"


class _RememberingRegistry(HeaderRegistry):
    """Python's registry of header classes, made faster. Headers are immutable, so they can be shared."""

    def __getitem__(self, name: str) -> type[BaseHeader]:
        return _header_class(name.lower())

    def __call__(self, name: str, value: Any) -> BaseHeader:
        if name.lower() in _SHARED and type(value) is str:
            return _header(name, value)
        return _header_class(name.lower())(name, value)


#: Django 5.2 makes mail by Python's old policy, and asks for none.
_TAKES_POLICY: Final = "policy" in inspect.signature(EmailMultiAlternatives.message).parameters

_plain: Final = HeaderRegistry()
for _name in ("list-archive", "list-help", "list-owner", "list-post", "list-subscribe", "list-unsubscribe"):
    _plain.map_to_type(_name, _LinkHeader)  # type: ignore[arg-type]  # typeshed: it takes such mixins, not finished headers
_remembering: Final = _RememberingRegistry()


@lru_cache(maxsize=64)
def _header_class(name: str) -> type[BaseHeader]:
    return _plain[name]


@lru_cache(maxsize=64)
def _header(name: str, value: str) -> BaseHeader:
    return _header_class(name.lower())(name, value)


@lru_cache(maxsize=8)
def _faster(policy: EmailPolicy) -> EmailPolicy:
    # A policy with a registry of its own stays as it is.
    return policy.clone(header_factory=_remembering) if type(policy.header_factory) is HeaderRegistry else policy


#: What Django 5.2 makes mail with.
_smtp_compat32: Final = compat32.clone(linesep="\r\n")
#: Bytes of a line up to which Django sends a text as it is.
_LONGEST_LINE: Final = 78 if _TAKES_POLICY else 998
_LINE_BREAK: Final = re.compile(rb"\r\n|\r|\n")


def boundary() -> str:
    """What separates the parts of one message, and is in none of them."""
    return f"=={secrets.token_hex(16)}=="


class Email(EmailMultiAlternatives):
    """Text, HTML and attachments for one receiver."""

    def message(self, **kwargs: Any) -> Any:
        """The MIME form. On Django 6 the SMTP backend asks for it with a ``policy``, others mostly without one."""
        if _TAKES_POLICY:
            policy = kwargs.get("policy", default_policy)
            kwargs["policy"] = _faster(policy) if isinstance(policy, EmailPolicy) else policy
        mime = super().message(**kwargs)
        for part in mime.walk():
            if part.get_content_maintype() == "multipart" and part.get_boundary() is None:
                part.set_boundary(boundary())
        return mime


def smtp_bytes(email: Email) -> tuple[bytes, bytes]:
    """What Django sends by SMTP for ``email``, and its boundary, which is empty when it has one part."""
    mime = email.message(policy=SMTP) if _TAKES_POLICY else email.message()
    written: bytes = mime.as_bytes() if _TAKES_POLICY else mime.as_bytes(linesep="\r\n")
    return written, (mime.get_boundary() or "").encode()


def holds_addresses(name: str) -> bool:
    """Whether a header of this name is made of addresses, whose domains Django 6.1 encodes: Sender, Cc."""
    return issubclass(_header_class(name.lower()), AddressHeader)


def encoded_header(name: str, value: str) -> bytes:
    """The lines of one header as Django sends it by SMTP. Raises ValueError for line breaks in ``value``."""
    if _TAKES_POLICY:
        policy = _faster(SMTP)
        return policy.fold_binary(*policy.header_store_parse(name, value))
    return _smtp_compat32.fold_binary(*mail.message.forbid_multi_line_headers(name, value, "utf-8"))


def encoded_body(text: str, subtype: str) -> tuple[bytes, bytes]:
    """The transfer encoding, and the lines, of a part ``text/<subtype>`` as Django sends it by SMTP."""
    raw = text.encode()
    lines = raw.splitlines()
    if max(map(len, lines), default=0) <= _LONGEST_LINE:
        # Django 6 ends the last line, too.
        ending = b"\r\n" if _TAKES_POLICY or raw.endswith((b"\n", b"\r")) else b""
        return b"7bit" if raw.isascii() else b"8bit", b"\r\n".join(lines) + ending
    part: Any
    if _TAKES_POLICY:
        part = MIMEPart(policy=_faster(SMTP))
        part.set_content(text, subtype=subtype, charset="utf-8")
    else:
        part = mail.message.SafeMIMEText(text, subtype, "utf-8")
    payload = b"\r\n".join(_LINE_BREAK.split(part.get_payload().encode()))
    return part["Content-Transfer-Encoding"].encode(), payload
