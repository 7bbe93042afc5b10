"""Any gateway that speaks HTTP, described by options."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import parse_qsl, quote, urlsplit
from xml.sax.saxutils import escape

from django.core.checks import CheckMessage, Error

from dsn_core import Receipt, secret
from dsn_core.kit import http
from dsn_sms.options import SMSOptions
from dsn_sms.outgoing import SMS
from dsn_sms.providers.over_http import HTTPProvider, text_of

#: What can stand in braces in URL and BODY.
PLACEHOLDERS: Final = ("to", "to_digits", "from", "text", "id", "country", "report_url")
#: Shorter values are words such as "sms", which would be masked everywhere.
_SHORTEST_KEY: Final = 6


@dataclass(frozen=True, kw_only=True)
class GatewayOptions(SMSOptions):
    """``URL`` and ``BODY`` may hold ``{to}``, ``{to_digits}`` (without the plus), ``{from}``, ``{text}``, ``{id}``,
    ``{country}`` and ``{report_url}``, which are escaped for the place where they stand; a brace is written twice.
    """

    #: The address of the request. Secret, since many gateways want their key in it.
    URL: str = secret()
    METHOD: Literal["GET", "POST", "PUT"] = "POST"
    #: Headers of the request; secret, too.
    HEADERS: Mapping[str, str] | None = secret(default=None)
    #: The body: a dict (for ``"json"`` and ``"form"``) or a text. None: no body.
    BODY: Mapping[str, Any] | str | None = None
    #: What the body is, which says how values in it are escaped, and its ``Content-Type``.
    FORMAT: Literal["json", "form", "xml", "text"] = "json"
    #: When an answer with a 2xx means success: paths in its JSON, each with the value or the values it must have:
    #: ``{"messages.0.status": ["0", "queued"]}``. Empty: always.
    SUCCESS: Mapping[str, Any] | None = None
    #: The same for an answer that is no JSON: a regular expression that must be found in it.
    SUCCESS_PATTERN: str = ""
    #: Where the gateway's id of the message is: a path in the JSON, or a regular expression with one group.
    MESSAGE_ID: str = ""
    MESSAGE_ID_PATTERN: str = ""
    #: Where its error code is, which the option ``ERRORS`` can give a meaning.
    ERROR_CODE: str = ""
    ERROR_CODE_PATTERN: str = ""

    def mask(self, text: str) -> str:
        """``text`` without the secret options, and without what in them is a key by itself."""
        text = super().mask(text)
        for part in sorted(self._keys(), key=len, reverse=True):
            text = text.replace(part, "***")
        return text

    def _keys(self) -> set[str]:
        """The values in the query of ``URL``, its user and password, and the words of ``HEADERS``."""
        parts = urlsplit(self.URL)
        found = {value for _, value in parse_qsl(parts.query)} | {parts.username or "", parts.password or ""}
        found |= {word for value in (self.HEADERS or {}).values() for word in value.split()}
        return {value for value in found if len(value) >= _SHORTEST_KEY and "{" not in value}


class GatewayProvider(HTTPProvider):
    """Sends through any gateway that takes one HTTP request per message."""

    name = "http"
    Options = GatewayOptions

    options: GatewayOptions

    def request(self, sms: SMS) -> http.Request:
        values = {
            "to": sms.to,
            "to_digits": sms.to.lstrip("+"),
            "from": sms.sender,
            "text": sms.text,
            "id": sms.id,
            "country": sms.country,
            "report_url": sms.report_url,
        }
        options = self.options
        url = fill(options.URL, values, lambda value: quote(value, safe=""))
        headers = dict(options.HEADERS or {})
        content = _body(options.BODY, options.FORMAT, values)
        if content is not None and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = _CONTENT_TYPES[options.FORMAT]
        return http.Request(options.METHOD, url, headers=headers, content=content)

    def understand(self, answer: http.Answer, sms: SMS) -> Receipt:
        options = self.options
        said = answer.json()
        if not answer.is_success:
            return self.refused(answer, self._found(answer, said, "ERROR_CODE"), " ".join(answer.text[:200].split()))
        if options.SUCCESS and said is None:
            return self.senseless(answer)
        if not self._is_success(answer, said):
            return self.refused(answer, self._found(answer, said, "ERROR_CODE"), " ".join(answer.text[:200].split()))
        return Receipt.sent(self._found(answer, said, "MESSAGE_ID"))

    def _is_success(self, answer: http.Answer, said: Any) -> bool:
        for path, wanted in (self.options.SUCCESS or {}).items():
            allowed = wanted if isinstance(wanted, Sequence) and not isinstance(wanted, str) else [wanted]
            # "0" and 0, since documentation and gateways often disagree about it.
            if str(follow(said, path)).lower() not in {str(item).lower() for item in allowed}:
                return False
        return not self.options.SUCCESS_PATTERN or bool(re.search(self.options.SUCCESS_PATTERN, answer.text))

    def _found(self, answer: http.Answer, said: Any, option: Literal["MESSAGE_ID", "ERROR_CODE"]) -> str:
        if path := getattr(self.options, option):
            return text_of(follow(said, path))
        if pattern := getattr(self.options, f"{option}_PATTERN"):
            match = re.search(pattern, answer.text)
            return match[1] if match else ""
        return ""

    @classmethod
    def check(cls, options: GatewayOptions) -> list[CheckMessage]:
        found: list[CheckMessage] = []
        if not http.is_secure(_without_placeholders(options.URL)):
            hint = "Texts and numbers would travel unencrypted."
            found.append(Error("URL is not https.", hint=hint, id="dsn_sms.E004"))
        for name in ("URL", "BODY"):
            if wrong := _wrong_placeholder(getattr(options, name)):
                hint = f"There are {', '.join(f'{{{item}}}' for item in PLACEHOLDERS)}; a brace is written twice."
                found.append(Error(f"{name} cannot be filled in: {wrong}.", hint=hint, id="dsn_sms.E020"))
        for name, groups in (("SUCCESS_PATTERN", 0), ("MESSAGE_ID_PATTERN", 1), ("ERROR_CODE_PATTERN", 1)):
            try:
                if (pattern := getattr(options, name)) and re.compile(pattern).groups < groups:
                    found.append(
                        Error(f"{name} has no group.", hint="Put brackets around the value.", id="dsn_sms.E021")
                    )
            except re.error as error:
                found.append(Error(f"{name} is no regular expression: {error}.", id="dsn_sms.E021"))
        if isinstance(options.BODY, Mapping) and options.FORMAT in ("xml", "text"):
            hint = f"Write the {options.FORMAT} as one text."
            found.append(Error(f"BODY is a dict, and FORMAT is {options.FORMAT!r}.", hint=hint, id="dsn_sms.E022"))
        if options.BODY is not None and options.METHOD == "GET":
            found.append(Error("BODY is set, and METHOD is GET.", hint="Put the values into URL.", id="dsn_sms.E022"))
        return found


_CONTENT_TYPES: Final = {
    "json": "application/json",
    "form": "application/x-www-form-urlencoded",
    "xml": "text/xml; charset=utf-8",
    "text": "text/plain; charset=utf-8",
}
#: How a value is escaped that stands in a body which is one text.
_ESCAPES: Final[Mapping[str, Callable[[str], str]]] = {
    "json": lambda value: json.dumps(value)[1:-1],
    "form": lambda value: quote(value, safe=""),
    "xml": lambda value: escape(value, {'"': "&quot;", "'": "&apos;"}),
    "text": lambda value: value,
}


def _body(template: Any, kind: str, values: Mapping[str, str]) -> bytes | None:
    if template is None:
        return None
    if isinstance(template, str):
        return fill(template, values, _ESCAPES[kind]).encode()
    filled = _filled(template, values)
    if kind == "json":
        return json.dumps(filled).encode()
    return "&".join(
        f"{quote(str(key), safe='')}={quote(str(value), safe='')}" for key, value in filled.items()
    ).encode()


def _filled(template: Any, values: Mapping[str, str]) -> Any:
    """A copy of a dict or list with every text in it filled in."""
    if isinstance(template, str):
        return fill(template, values, str)
    if isinstance(template, Mapping):
        return {key: _filled(item, values) for key, item in template.items()}
    if isinstance(template, Sequence) and not isinstance(template, bytes):
        return [_filled(item, values) for item in template]
    return template


def fill(template: str, values: Mapping[str, str], escaped: Callable[[str], str]) -> str:
    """``template`` with ``{name}`` replaced. Raises KeyError or ValueError for what is no placeholder."""
    parts = []
    for literal, name, spec, conversion in string.Formatter().parse(template):
        parts.append(literal)
        if name is not None:
            if spec or conversion:
                raise ValueError(f"{{{name}}} has a format, which placeholders cannot have")
            parts.append(escaped(values[name]))
    return "".join(parts)


def follow(said: Any, path: str) -> Any:
    """The value at a dotted path in a JSON answer (``"messages.0.id"``); None where there is none."""
    for step in path.split("."):
        if isinstance(said, Mapping):
            said = said.get(step)
        elif isinstance(said, Sequence) and not isinstance(said, str) and step.isdecimal() and int(step) < len(said):
            said = said[int(step)]
        else:
            return None
    return said


def _without_placeholders(url: str) -> str:
    return re.sub(r"\{\w*\}", "x", url)


def _wrong_placeholder(template: Any) -> str:
    try:
        _filled(template, dict.fromkeys(PLACEHOLDERS, ""))
    except KeyError as error:
        return f"there is no {{{error.args[0]}}}"
    except ValueError as error:
        return str(error)
    return ""
