"""The messenger ``email``: what dsn-core calls to send e-mail."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from django.core.checks import CheckMessage

from dsn_core import BaseMessenger, Message, Receipt
from dsn_core import Options as AnyOptions
from dsn_core.exceptions import InvalidAddress
from dsn_email import checks
from dsn_email.headers import HeaderError
from dsn_email.messages import MessageFactory, OutgoingMessage
from dsn_email.options import EmailOptions
from dsn_email.transport import Transport


class EmailMessenger(BaseMessenger):
    """Sends e-mail through Django's mail settings.

    One connection per batch, one e-mail per delivery. A template can add to its message
    ``extra["email"]``, a dict with ``headers``, ``attachments`` and ``reply_to``.
    """

    name = "email"
    parts = ("subject", "text", "html")
    Options: ClassVar[type[AnyOptions]] = EmailOptions

    def addresses(self, users: Sequence[Any]) -> Mapping[Any, str]:
        """The users' e-mail fields, or what ``DSN["ADDRESSES"]["email"]`` names."""
        if self.path_to_address:
            return super().addresses(users)
        found = {user.pk: _email_of(user) for user in users}
        return {pk: address for pk, address in found.items() if address}

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        """Answer for what cannot be sent before the network is used, then send the rest."""
        try:
            factory = MessageFactory(self.options)
        except HeaderError as error:
            for message in messages:
                yield Receipt.failed(str(error), message=message)
            return
        outgoing: list[OutgoingMessage] = []
        for message in messages:
            try:
                outgoing.append(factory.make(message))
            except InvalidAddress as error:
                yield Receipt.invalid_address(str(error), message=message)
            except HeaderError as error:
                yield Receipt.failed(str(error), message=message)
        if outgoing:
            yield from Transport(self.options).send(outgoing)

    @classmethod
    def check(cls, options: AnyOptions) -> list[CheckMessage]:
        """What is wrong with the options, or with the mail settings that they use."""
        return checks.problems(options) if isinstance(options, EmailOptions) else []


def _email_of(user: Any) -> str:
    """A user's address, for any user model: one that does not inherit Django's may lack the method."""
    name_of_field = getattr(type(user), "get_email_field_name", None)
    return str(getattr(user, name_of_field() if name_of_field else "email", "") or "").strip()
