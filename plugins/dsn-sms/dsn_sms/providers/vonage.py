"""Vonage's Messages API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.http import HttpRequest

from dsn_core import Receipt, secret
from dsn_core.kit import http
from dsn_sms import vonage_callbacks
from dsn_sms.error_tables import VONAGE
from dsn_sms.options import SMSOptions
from dsn_sms.outgoing import SMS
from dsn_sms.providers.base import Inbound, Report
from dsn_sms.providers.over_http import HTTPProvider, text_of

PUBLIC_API: Final = "https://api.nexmo.com"
#: How many characters a client reference may have.
_LONGEST_REFERENCE: Final = 100


@dataclass(frozen=True, kw_only=True)
class VonageOptions(SMSOptions):
    """``FROM`` is a number of the account (digits only, or with a plus) or a sender's name."""

    API_KEY: str
    API_SECRET: str = secret()
    #: The account's signature secret. Without it no callback is believed.
    SIGNATURE_SECRET: str = secret(default="")
    #: How callbacks of the older SMS API are signed (the hash of the HMAC), as chosen in Vonage's dashboard.
    SIGNATURE_METHOD: Literal["md5", "sha1", "sha256", "sha512"] = "sha256"
    #: What Vonage takes where nothing else was agreed.
    RATE: str = "30/s"


class VonageProvider(HTTPProvider):
    """Sends through Vonage, and hears its status and inbound webhooks."""

    name = "vonage"
    Options = VonageOptions
    errors = VONAGE
    max_characters = 1000
    needs_sender = True

    options: VonageOptions

    def request(self, sms: SMS) -> http.Request:
        body: dict[str, Any] = {
            "message_type": "text",
            "channel": "sms",
            "to": sms.to.lstrip("+"),
            "from": sms.sender.lstrip("+"),
            "text": sms.text,
            "sms": {"encoding_type": "text" if sms.encoding == "GSM-7" else "unicode"},
        }
        if len(sms.id) <= _LONGEST_REFERENCE:
            body["client_ref"] = sms.id
        if sms.report_url:
            body |= {"webhook_url": sms.report_url, "webhook_version": "v1"}
        base = (self.options.API_BASE or PUBLIC_API).rstrip("/")
        login = http.basic_auth(self.options.API_KEY, self.options.API_SECRET)
        return http.Request("POST", f"{base}/v1/messages", json=body, headers={"Authorization": login})

    def understand(self, answer: http.Answer, sms: SMS) -> Receipt:
        said = answer.json()
        fields: Mapping[str, object] = said if isinstance(said, Mapping) else {}
        if not answer.is_success:
            # RFC 7807: the type is an address of the documentation, which ends with the code.
            code = text_of(fields.get("type")).rpartition("#")[2].rpartition("/")[2]
            said = " ".join(filter(None, (text_of(fields.get("title")), text_of(fields.get("detail")))))
            return self.refused(answer, code, said)
        if not (uuid := text_of(fields.get("message_uuid"))):
            return self.senseless(answer)
        return Receipt.sent(uuid)

    def receive(self, request: HttpRequest) -> Iterable[Report | Inbound]:
        return vonage_callbacks.read(request, self.options, self.message_id(request))
