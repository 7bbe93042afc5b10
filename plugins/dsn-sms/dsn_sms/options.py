"""The options that the messenger has with every provider, from ``DSN["MESSENGERS"]["sms"]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeVar

from dsn_core import Options
from dsn_core.exceptions import ConfigurationError

OptionsT = TypeVar("OptionsT", bound="SMSOptions")


@dataclass(frozen=True, kw_only=True)
class SMSOptions(Options):
    """Options of the messenger ``sms``. A provider adds its own in a subclass.

    ``SMSOptions.from_mapping`` builds the options of the provider that ``PROVIDER`` names.
    """

    #: ``"twilio"``, ``"vonage"``, ``"sns"``, ``"http"``, ``"console"``, or one that another package brings.
    PROVIDER: str
    #: The sender: a number of yours, a name of at most 11 characters, or what else the provider takes.
    FROM: str = ""
    #: Other senders for some countries: ``{"US": "+12015550123"}``.
    SENDERS: Mapping[str, str] = field(default_factory=dict)
    #: The country of numbers that are written without their country's code: ``"DE"``.
    REGION: str = ""
    #: Whether a number with an extension (``"+49 30 901820 ext. 17"``) gets its messages at the number before it.
    IGNORE_EXTENSIONS: bool = False
    #: If any: only numbers of these countries get messages.
    ALLOWED_COUNTRIES: Sequence[str] = ()
    #: Numbers of these countries get none.
    REFUSED_COUNTRIES: Sequence[str] = ()
    #: How many segments (each is paid for) one message may have.
    MAX_SEGMENTS: int = 10
    #: What becomes of a longer one: it fails, or it is cut and ends with an ellipsis.
    LONG_TEXT: Literal["fail", "cut"] = "fail"
    #: Whether typographic characters are replaced where that more than doubles what fits into a segment.
    SMART_ENCODING: bool = True
    #: What errors of the provider mean, where its table is to be corrected: ``{"30007": "transient"}``, by code or
    #: (``"HTTP 503"``) by status.
    ERRORS: Mapping[str, str] = field(default_factory=dict)
    #: Whether a message that the provider may have taken (a time-out, a 5xx) is sent once more.
    RETRY_UNKNOWN: bool = False
    #: How many messages are under way at the same time in each worker process, each over a connection of its own.
    CONNECTIONS: int = 40
    MOST_CONNECTIONS: ClassVar[int] = 200
    #: Do everything but call the provider.
    DRY_RUN: bool = False
    #: Where the provider's API is. Empty: at its public address.
    API_BASE: str = ""
    #: Where the provider reaches this site, ``"https://www.example.org"``. Empty: providers are not asked for
    #: reports, and what they send is expected to come with this site's own host name.
    PUBLIC_URL: str = ""

    @classmethod
    def from_mapping(cls: type[OptionsT], values: Mapping[str, Any]) -> OptionsT:
        """The options of the provider that ``PROVIDER`` names.

        Raises :class:`~dsn_core.exceptions.ConfigurationError`, which names all that is wrong.
        """
        chosen = cls if problem_with(values) else _class_for(cls, values)
        return super(SMSOptions, chosen).from_mapping(values)

    @classmethod
    def problems(cls, values: Mapping[str, Any]) -> list[str]:
        """What is wrong with ``values``, one sentence each, without showing any value."""
        if problem := problem_with(values):
            return [problem]
        chosen = _class_for(cls, values)
        found = super(SMSOptions, chosen).problems(values)
        if not found and values.get("MAX_SEGMENTS", 1) < 1:
            found = ["MAX_SEGMENTS must be 1 or more"]
        return found


def problem_with(values: Mapping[str, Any]) -> str:
    """Why no provider can be chosen by ``values``; empty when one can."""
    from dsn_sms.providers import find

    if not isinstance(name := values.get("PROVIDER"), str) or not name:
        return "PROVIDER is missing" if name in (None, "") else f"PROVIDER must be str, not {type(name).__name__}"
    try:
        # A text of the settings does not print, since it might be a secret. This one is none.
        find(str(name))
    except ConfigurationError as error:
        return str(error).rstrip(".")
    return ""


def _class_for(cls: type[OptionsT], values: Mapping[str, Any]) -> type[OptionsT]:
    """The provider's own class of options, unless it is asked already."""
    from dsn_sms.providers import find

    chosen = find(values["PROVIDER"]).Options
    return chosen if issubclass(chosen, cls) else cls
