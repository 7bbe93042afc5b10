"""Amazon SNS, by boto3 (``pip install dsn-sms[sns]``)."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.core.checks import CheckMessage, Error
from django.http import HttpRequest

from dsn_core import Receipt, secret
from dsn_core.kit import describe, http
from dsn_sms import sns_callbacks
from dsn_sms.error_tables import SNS
from dsn_sms.exceptions import BadSettings, NoAnswer, NoConnection
from dsn_sms.options import SMSOptions
from dsn_sms.outgoing import SMS
from dsn_sms.providers.base import BaseProvider, Inbound, Report

#: The loggers of boto3 and what it sends with.
_LOGGERS: Final = (
    *("boto3", "botocore.auth", "botocore.endpoint", "botocore.hooks", "botocore.httpsession", "botocore.parsers"),
    *("botocore.client", "botocore.regions", "botocore.retryhandler", "urllib3.connectionpool"),
)


@dataclass(frozen=True, kw_only=True)
class SNSOptions(SMSOptions):
    """``FROM`` is a sender's name (3 to 11 letters and digits) or a number of the account; it may be left out.

    Without ``ACCESS_KEY_ID`` boto3 finds credentials as it always does: environment, files, the machine's role.
    """

    AWS_REGION: str
    ACCESS_KEY_ID: str = ""
    SECRET_ACCESS_KEY: str = secret(default="")
    #: SNS's own word for whether delivery or price matters more.
    SMS_TYPE: Literal["Transactional", "Promotional"] = "Transactional"
    #: The topics whose notifications the callback view believes. Every AWS account can have SNS sign one.
    TOPICS: Sequence[str] = ()
    #: What SNS takes in most regions where nothing else was agreed.
    RATE: str = "20/s"


class SNSProvider(BaseProvider):
    """Publishes to phone numbers through Amazon SNS, and hears what its topics send."""

    name = "sns"
    Options = SNSOptions
    errors = SNS
    max_characters = 1600

    options: SNSOptions

    def send(self, sms: SMS) -> Receipt:
        client = self._client()
        # After it, which says how to install boto3.
        from botocore import exceptions

        try:
            with http.masked_logs(self.options.mask, _LOGGERS):
                answer = client.publish(**self._parameters(sms))
        except exceptions.ClientError as error:
            said = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return self.refusal(str(said.get("Code", "")), int(status), str(said.get("Message", "")))
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.SSLError) as error:
            raise BadSettings(self._said(error)) from None
        except (
            exceptions.EndpointConnectionError,
            exceptions.ConnectTimeoutError,
            exceptions.ProxyConnectionError,
        ) as error:
            raise NoConnection(f"No connection to SNS: {self._said(error)}") from None
        except exceptions.ParamValidationError as error:
            return Receipt.failed(f"sns: {self._said(error)}")
        except exceptions.BotoCoreError as error:
            raise NoAnswer(f"The answer of SNS did not come: {self._said(error)}") from None
        message_id = answer.get("MessageId", "")
        return Receipt.sent(message_id) if message_id else Receipt.unknown("sns: an answer without a MessageId.")

    def rehearse(self, sms: SMS) -> None:
        self._parameters(sms)
        self._client()

    def _parameters(self, sms: SMS) -> dict[str, Any]:
        attributes: dict[str, str] = {"AWS.SNS.SMS.SMSType": self.options.SMS_TYPE}
        if sms.sender:
            kind = "AWS.MM.SMS.OriginationNumber" if sms.sender.lstrip("+").isdecimal() else "AWS.SNS.SMS.SenderID"
            attributes[kind] = sms.sender
        return {
            "PhoneNumber": sms.to,
            "Message": sms.text,
            "MessageAttributes": {
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            },
        }

    def _client(self) -> Any:
        options = self.options
        return _made(
            os.getpid(),
            options.AWS_REGION,
            options.API_BASE,
            options.ACCESS_KEY_ID,
            options.SECRET_ACCESS_KEY,
            options.TIMEOUT,
            options.CONNECTIONS,
        )

    def _said(self, error: Exception) -> str:
        return self.options.mask(describe(error))

    def receive(self, request: HttpRequest) -> Iterable[Report | Inbound]:
        return sns_callbacks.read(request, self.options)

    @classmethod
    def check(cls, options: SNSOptions) -> list[CheckMessage]:
        found: list[CheckMessage] = []
        missing = [name for name in ("boto3", "cryptography") if importlib.util.find_spec(name) is None]
        if missing:
            hint = "Install them: pip install 'dsn-sms[sns]'."
            found.append(Error(f"The provider sns needs {' and '.join(missing)}.", hint=hint, id="dsn_sms.E030"))
        if bool(options.ACCESS_KEY_ID) != bool(options.SECRET_ACCESS_KEY):
            hint = "Set both, or none: then boto3 looks where it always does."
            found.append(Error("Only one of ACCESS_KEY_ID and SECRET_ACCESS_KEY is set.", hint=hint, id="dsn_sms.E031"))
        if wrong := [topic for topic in options.TOPICS if not sns_callbacks.ARN.fullmatch(topic)]:
            hint = "Copy them from the SNS console."
            found.append(
                Error(f"TOPICS holds what is no topic's ARN: {', '.join(wrong)}.", hint=hint, id="dsn_sms.E032")
            )
        return found


@functools.lru_cache(maxsize=8)
def _made(process: int, region: str, base: str, key_id: str, secret_key: str, timeout: float, connections: int) -> Any:
    """A client of boto3, which threads may share. Made once: it takes a quarter of a second."""
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise BadSettings(f"The provider sns needs {error.name}: pip install 'dsn-sms[sns]'.") from None
    config = Config(
        connect_timeout=timeout,
        read_timeout=timeout,
        max_pool_connections=connections,
        # Tried once: whether a message is sent again is dsn-core's to decide.
        retries={"total_max_attempts": 1, "mode": "standard"},
        ignore_configured_endpoint_urls=True,
    )
    session = boto3.session.Session(
        aws_access_key_id=key_id or None, aws_secret_access_key=secret_key or None, region_name=region
    )
    return session.client("sns", endpoint_url=base or None, config=config)
