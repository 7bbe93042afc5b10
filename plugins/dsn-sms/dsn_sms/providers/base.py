"""The interface of a provider, and what it reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from django.core.checks import CheckMessage
from django.http import HttpRequest

from dsn_core import Receipt
from dsn_sms import addresses
from dsn_sms.exceptions import Forged
from dsn_sms.meanings import Meaning, meaning_of, receipt_of
from dsn_sms.options import SMSOptions
from dsn_sms.outgoing import SMS


@dataclass(frozen=True)
class Report:
    """What became of a message later.

    ``message_id`` is our own id where the provider returns it, ``provider_id`` its own.
    """

    state: Literal["delivered", "undelivered"]
    message_id: str = ""
    provider_id: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Inbound:
    """A message that came to one of our numbers.

    ``kind`` is set where the provider itself has recognised a keyword: ``"stop"``, ``"start"``, ``"help"``.
    ``raw`` is all that the provider said.
    """

    id: str
    number: str
    to: str
    text: str
    kind: str = ""
    raw: Mapping[str, Any] = field(default_factory=dict)


class BaseProvider:
    """Sends SMS through one provider. Subclass it, and name the class in an entry point of the group ``dsn_sms``::

        class PigeonProvider(BaseProvider):
            name = "pigeon"
            Options = PigeonOptions              # a frozen dataclass, a subclass of SMSOptions

            def send(self, sms):
                answer = pigeon.fly(sms.to, sms.text, key=self.options.KEY, timeout=self.options.TIMEOUT)
                return Receipt.sent(answer.id) if answer.ok else self.refusal(str(answer.code), answer.status)

    One object is made per batch, and ``send`` is called by several threads at the same time.
    """

    #: What ``PROVIDER`` says.
    name: ClassVar[str] = ""
    #: The frozen dataclass of its options.
    Options: ClassVar[type[SMSOptions]] = SMSOptions
    #: What its error codes mean. ``"HTTP 403"`` stands for an answer with that status and no code that is known.
    errors: ClassVar[Mapping[str, Meaning]] = {}
    #: How many characters one message may have, however many segments those take.
    max_characters: ClassVar[int] = 1600
    #: Whether a message needs a sender (the options ``FROM`` and ``SENDERS``).
    needs_sender: ClassVar[bool] = False
    #: Whether its signature covers the query of the address that it calls. If not, this site signs what stands there.
    signs_query: ClassVar[bool] = False
    #: The status with which the callback view answers.
    callback_status: ClassVar[int] = 200

    def __init__(self, options: Any, alias: str = "sms") -> None:
        self.options = options
        self.alias = alias

    def send(self, sms: SMS) -> Receipt:
        """Send one message within ``options.TIMEOUT`` seconds and say what became of it.

        Raises what :mod:`dsn_sms.exceptions` has for that; anything else that is raised counts as
        *unknown*, since it is not known how far it came.
        """
        raise NotImplementedError(f"{type(self).__qualname__} does not say how to send.")

    def rehearse(self, sms: SMS) -> None:
        """With ``DRY_RUN``: do what :meth:`send` does before it calls the provider."""

    def reference(self, message_id: str) -> str:
        """What stands for a message in the address that the provider calls with its report."""
        return message_id if self.signs_query else addresses.signed(message_id, self.alias)

    def message_id(self, request: HttpRequest) -> str:
        """The message that the called address names, for :meth:`receive`; empty when it names none.

        Raises :class:`Forged` when it names one, and neither this site nor the provider signed that.
        """
        reference = request.GET.get(addresses.MESSAGE, "")
        return reference if self.signs_query or not reference else addresses.unsigned(reference, self.alias)

    def receive(self, request: HttpRequest) -> Iterable[Report | Inbound]:
        """Verify what the provider posted to the callback view, and return what it says.

        Raises :class:`Forged` or :class:`~dsn_sms.exceptions.Unreadable`, and nothing else, whatever the request holds.
        A provider that has no callbacks refuses all.
        """
        raise Forged(f"The provider {self.name} has no callbacks.")

    @classmethod
    def check(cls, options: Any) -> list[CheckMessage]:
        """What is wrong with the provider's own options. No network call belongs here."""
        return []

    def refusal(self, code: str, status: int, said: str = "", *, after: float | None = None) -> Receipt:
        """The receipt for an error: what the option ``ERRORS``, :attr:`errors` or ``status`` say that it means.

        ``after``: seconds that the provider asks to wait.
        """
        tables = {**self.errors, **{key: Meaning(value) for key, value in self.options.ERRORS.items()}}
        reason = " ".join(f"{self.name}: {f'HTTP {status}' if status else ''} {code} {said}".split())
        return receipt_of(meaning_of(tables, code, status), reason, after)
