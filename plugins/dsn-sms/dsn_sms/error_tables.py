"""What the providers' error codes mean, as data.

Only what differs from the defaults of :func:`dsn_sms.meanings.meaning_of` has to stand here, and what is worth
naming. The option ``ERRORS`` goes before all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from dsn_sms.meanings import Meaning

_PERMANENT: Final = Meaning.PERMANENT
_TRANSIENT: Final = Meaning.TRANSIENT
_ADDRESS: Final = Meaning.ADDRESS
_CONFIGURATION: Final = Meaning.CONFIGURATION
_THROTTLED: Final = Meaning.THROTTLED
_UNKNOWN: Final = Meaning.UNKNOWN


def _table(groups: Mapping[Meaning, str]) -> dict[str, Meaning]:
    """By code; the groups list their codes, parted by blanks."""
    return {code.replace("_", " "): meaning for meaning, codes in groups.items() for code in codes.split()}


#: Twilio's error dictionary: what the Messages resource answers (2xxxx), and what reports say (3xxxx).
TWILIO: Final = _table(
    {
        # 21211 not a valid number, 21214 cannot be reached, 21217 no valid number, 21610 STOP, 21614 not a mobile
        # number, 21635 landline, 21265 short code, 21266 To and From are the same, 30005 unknown handset, 30006
        # landline or unreachable carrier, 30004 blocked by the receiver.
        _ADDRESS: "21211 21214 21217 21265 21266 21610 21614 21635 30004 30005 30006",
        # 20003 wrong credentials, 20005 account not active, 20008 test credentials, 20404 account or resource not
        # found, 21212 / 21603 / 21606 / 21659 / 21660 the sender cannot send, 21608 trial account, 21701 to 21705 the
        # messaging service, 30002 account suspended.
        _CONFIGURATION: "20003 20005 20008 20404 21212 21603 21606 21608 21659 21660 21701 21703 21704 21705 30002",
        # Said before anything was queued: Twilio has not processed the request.
        _THROTTLED: "20429 14107 30022 63017",
        # 21611 and 30001: the sender's queue is full. 30003 handset off, 30008 unknown, 30017 network congested.
        _TRANSIENT: "21611 30001 30003 30017",
        # 21408 no permission for that country, 21602 no body, 21612 no route, 21617 over 1600 characters, 30007
        # filtered, 21619 no body.
        _PERMANENT: "21408 21602 21612 21617 21619 30007 30008",
    }
)

#: Vonage's Messages API: the code is the end of the problem's ``type``.
VONAGE: Final = _table(
    {
        # 1050 barred, 1170 invalid recipient, 1190 absent for ever, 1240 STOP, 1300 and 1310 cannot get messages.
        _ADDRESS: "1050 1170 1190 1240 1300 1310",
        # 1060 account barred, 1070 quota, 1080 and 1140 not enabled, 1120 sender refused, 1160 demo account, and the
        # errors that all of Vonage's APIs have by name.
        _CONFIGURATION: (
            "1060 1070 1080 1120 1140 1160 HTTP_403 HTTP_404 low-balance unauthorized forbidden not-found "
            "unprovisioned account-suspended application-suspended invalid-api-key invalid-ip invalid-signature "
            "multiple-auth-methods unavailable-legal"
        ),
        _THROTTLED: "1000 1241 throttled rate-limit",
        # 1180, 1220 and 1230: not now. 1100: not submitted.
        _TRANSIENT: "1100 1180 1220 1230 1331",
        _UNKNOWN: "1030",
        _PERMANENT: "1010 1020 1040 1090 1130 1210 1250 1260 1280 1282 invalid-params invalid-json",
    }
)

#: Amazon SNS: the codes of ``Publish``.
SNS: Final = _table(
    {
        _ADDRESS: "OptedOut OptedOutException",
        _CONFIGURATION: (
            "AccessDenied AccessDeniedException AuthorizationError AuthorizationErrorException ExpiredToken "
            "ExpiredTokenException IncompleteSignature InvalidClientTokenId MissingAuthenticationToken OptInRequired "
            "SignatureDoesNotMatch UnrecognizedClientException UserErrorException InvalidAction HTTP_403"
        ),
        _THROTTLED: "Throttling ThrottlingException Throttled ThrottledException RequestLimitExceeded KMSThrottling",
        _TRANSIENT: "RequestExpired RequestTimeTooSkewed",
        _UNKNOWN: "InternalError InternalFailure InternalErrorException ServiceUnavailable",
        _PERMANENT: "InvalidParameter InvalidParameterValue ParameterValueInvalid ValidationError",
    }
)
