"""Twilio's Programmable Messaging, by its REST API."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from django.core.checks import CheckMessage, Error
from django.http import HttpRequest

from dsn_core import Receipt, secret
from dsn_core.kit import http
from dsn_sms import twilio_callbacks
from dsn_sms.error_tables import TWILIO
from dsn_sms.options import SMSOptions
from dsn_sms.outgoing import SMS
from dsn_sms.providers.base import Inbound, Report
from dsn_sms.providers.over_http import HTTPProvider, text_of

PUBLIC_API: Final = "https://api.twilio.com"
_ACCOUNT: Final = re.compile(r"AC[0-9a-zA-Z]{32}")
_SERVICE: Final = re.compile(r"MG[0-9a-fA-F]{32}")


@dataclass(frozen=True, kw_only=True)
class TwilioOptions(SMSOptions):
    """``FROM`` is a number of the account, a sender's name, or a messaging service (``MG...``)."""

    ACCOUNT_SID: str
    AUTH_TOKEN: str = secret()
    #: Where Twilio signs its callbacks by SHA-256 with a shared key: that key's secret.
    SHARED_KEY: str = secret(default="")


class TwilioProvider(HTTPProvider):
    """Sends through Twilio, and hears its status callbacks and incoming messages."""

    name = "twilio"
    Options = TwilioOptions
    errors = TWILIO
    max_characters = 1600
    needs_sender = True
    signs_query = True
    # An answer with a body would be sent to the phone.
    callback_status = 204

    options: TwilioOptions

    def request(self, sms: SMS) -> http.Request:
        sender = "MessagingServiceSid" if _SERVICE.fullmatch(sms.sender) else "From"
        form = {"To": sms.to, sender: sms.sender, "Body": sms.text}
        if sms.report_url:
            form["StatusCallback"] = sms.report_url
        base = (self.options.API_BASE or PUBLIC_API).rstrip("/")
        url = f"{base}/2010-04-01/Accounts/{self.options.ACCOUNT_SID}/Messages.json"
        login = http.basic_auth(self.options.ACCOUNT_SID, self.options.AUTH_TOKEN)
        return http.Request("POST", url, form=form, headers={"Authorization": login})

    def understand(self, answer: http.Answer, sms: SMS) -> Receipt:
        said = answer.json()
        fields: Mapping[str, object] = said if isinstance(said, Mapping) else {}
        if not answer.is_success:
            return self.refused(answer, text_of(fields.get("code")), text_of(fields.get("message")))
        if not (sid := text_of(fields.get("sid"))):
            return self.senseless(answer)
        if fields.get("status") in ("failed", "undelivered"):
            return self.refused(answer, text_of(fields.get("error_code")), text_of(fields.get("error_message")))
        return Receipt.sent(sid)

    def receive(self, request: HttpRequest) -> Iterable[Report | Inbound]:
        return twilio_callbacks.read(request, self.options, self.message_id(request))

    @classmethod
    def check(cls, options: TwilioOptions) -> list[CheckMessage]:
        if _ACCOUNT.fullmatch(options.ACCOUNT_SID):
            return []
        hint = "Copy the Account SID from Twilio's console: AC and 32 signs."
        return [Error("ACCOUNT_SID is no Account SID.", hint=hint, id="dsn_sms.E010")]
