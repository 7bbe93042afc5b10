"""The base class of providers that are called by HTTP."""

from __future__ import annotations

from dsn_core import Receipt
from dsn_core.kit import describe, http
from dsn_sms.exceptions import BadSettings
from dsn_sms.outgoing import SMS
from dsn_sms.providers.base import BaseProvider


class HTTPProvider(BaseProvider):
    """One request per message. A subclass makes the request and reads the answer."""

    def request(self, sms: SMS) -> http.Request:
        """The request that sends ``sms``."""
        raise NotImplementedError(f"{type(self).__qualname__} does not say what to request.")

    def understand(self, answer: http.Answer, sms: SMS) -> Receipt:
        """What ``answer`` says."""
        raise NotImplementedError(f"{type(self).__qualname__} cannot read answers.")

    def send(self, sms: SMS) -> Receipt:
        answer = http.exchange(
            self._made(sms), timeout=self.options.TIMEOUT, mask=self.options.mask, user_agent="dsn-sms"
        )
        return self.understand(answer, sms)

    def rehearse(self, sms: SMS) -> None:
        http.check_request(self._made(sms), mask=self.options.mask)

    def _made(self, sms: SMS) -> http.Request:
        try:
            return self.request(sms)
        except (KeyError, ValueError) as error:
            raise BadSettings(f"The request cannot be made: {self.options.mask(describe(error))}") from None

    def refused(self, answer: http.Answer, code: str, said: str) -> Receipt:
        """The receipt for an answer that is an error."""
        return self.refusal(code, answer.status, said, after=answer.retry_after)

    def senseless(self, answer: http.Answer) -> Receipt:
        """The receipt for an answer with a 2xx that cannot be understood: the message may be on its way."""
        beginning = " ".join(answer.text[:100].split())
        return Receipt.unknown(f"{self.name}: HTTP {answer.status}, and an answer that makes no sense: {beginning!r}")


def text_of(value: object) -> str:
    """A value of a JSON answer as text; empty for what is none."""
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
