"""The messenger ``sms``."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import ClassVar

from django.core.checks import CheckMessage

from dsn_core import BaseMessenger, Message, Outcome, Receipt
from dsn_core import Options as AnyOptions
from dsn_core.kit import CONFIGURATION_PAUSE, describe
from dsn_sms import addresses, checks
from dsn_sms.dispatch import dispatch
from dsn_sms.exceptions import BadSettings, NoAnswer, NoConnection
from dsn_sms.options import SMSOptions
from dsn_sms.outgoing import SMS, prepare
from dsn_sms.providers import find
from dsn_sms.providers.base import BaseProvider

logger = logging.getLogger("dsn_sms")


class SMSMessenger(BaseMessenger):
    """Sends SMS through Twilio, Vonage, Amazon SNS or any HTTP gateway."""

    name = "sms"
    parts = ("text",)
    profile_field = "phone"
    # Many are under way at the same time, so that a hundred would be over before all connections are in use.
    batch_size = 500
    concurrent = True
    Options: ClassVar[type[AnyOptions]] = SMSOptions

    def __init__(self, alias: str = "", options: AnyOptions | None = None, address_path: str | None = None) -> None:
        super().__init__(alias, options, address_path)
        self._is_stopping = False

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        """Answer for what cannot be sent before any network is touched, then send the rest concurrently."""
        options: SMSOptions = self.options
        provider = find(options.PROVIDER)(options, self.alias)
        url = addresses.report_url(self.alias, options.PUBLIC_URL)
        ready: list[SMS] = []
        for message in messages:
            about = addresses.about(url, provider.reference(message.id)) if url else ""
            prepared = prepare(message, options, characters=provider.max_characters, report_url=about)
            if isinstance(prepared, SMS):
                ready.append(prepared)
            else:
                yield prepared
        if ready and not self._is_stopping:
            yield from dispatch(
                lambda sms: self._send(provider, sms), ready, options.CONNECTIONS, lambda: self._is_stopping
            )

    def stop(self) -> None:
        """Begin no further message; those under way are answered for."""
        self._is_stopping = True

    def _send(self, provider: BaseProvider, sms: SMS) -> Receipt:
        """Send one message; runs in a thread of its own. Raises :class:`NoConnection`."""
        options: SMSOptions = self.options
        try:
            if options.DRY_RUN:
                provider.rehearse(sms)
                logger.info("Dry run: an SMS of %d segments to %s was not sent.", sms.segments, sms.country)
                return Receipt.sent("dry-run")
            receipt = provider.send(sms)
        except NoConnection:
            raise
        except BadSettings as error:
            return Receipt.pause(CONFIGURATION_PAUSE, reason=str(error))
        except NoAnswer as error:
            receipt = Receipt.unknown(str(error))
        except Exception as error:
            # It is not known how far it came. Each further attempt could cost money, and send the message twice.
            said = options.mask(describe(error))
            logger.error("The SMS provider %s raised %s", provider.name, said, exc_info=options.exc_info(error))
            receipt = Receipt.unknown(f"The provider {provider.name} raised {said}")
        if receipt.outcome is Outcome.UNKNOWN and options.RETRY_UNKNOWN:
            return Receipt.retry(reason=receipt.reason)
        return receipt

    @classmethod
    def check(cls, options: AnyOptions) -> list[CheckMessage]:
        """What is wrong with the options, those of the provider included."""
        return checks.problems(options) if isinstance(options, SMSOptions) else []
