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


# A refusal follows this message, this address or this account. Only what refuses every message of the account is its
# configuration: one number must not hold up all others. What depends on the pair of sender and number, or on the
# number's country, refuses this message; the number stays good.

#: Twilio's error dictionary: what the Messages resource answers (2xxxx), and what reports say (3xxxx).
TWILIO: Final = _table(
    {
        # 21211 not a valid number, 21214 cannot be reached, 21217 no valid number, 21265 short code, 21266 To and From
        # are the same, 21610 STOP, 21614 not a mobile number, 21635 landline, 30004 blocked by the receiver, 30005
        # unknown handset, 30006 landline or unreachable carrier.
        _ADDRESS: "21211 21214 21217 21265 21266 21610 21614 21635 30004 30005 30006",
        # 20003 wrong credentials, 20005 account not active, 20008 test credentials, 20404 account or resource not
        # found, 21212 no such sender, 21603 no sender, 21660 another account's sender, 21701, 21704 and 21705 the
        # messaging service is none, or empty, 30002 account suspended.
        _CONFIGURATION: "20003 20005 20008 20404 21212 21603 21660 21701 21704 21705 30002",
        # Said before anything was queued: Twilio has not processed the request.
        _THROTTLED: "20429 30022 63017",
        # 14107: too many between these two numbers. 21611 and 30001: the sender's queue is full. 30003 handset off,
        # 30017 network congested.
        _TRANSIENT: "14107 21611 30001 30003 30017",
        # 21219 and 21608: a trial account, and the number is not verified. 21408 no permission for that country, 21606
        # and 21659 the sender is none for this destination, 21612 no route between the two, 21703 the messaging service
        # has no sender for it. 21602 and 21619 no body, 21617 over 1600 characters, 30007 filtered, 30008 unknown.
        _PERMANENT: "21219 21408 21602 21606 21608 21612 21617 21619 21659 21703 30007 30008",
    }
)

#: Vonage's Messages API: the code is the end of the problem's ``type``.
VONAGE: Final = _table(
    {
        # 1050 barred, 1170 invalid recipient, 1190 absent for ever, 1240 STOP, 1300 and 1310 cannot get messages.
        _ADDRESS: "1050 1170 1190 1240 1300 1310",
        # 1060 account barred, 1070 no credit, 1080 and 1140 not enabled, and the errors that all of Vonage's APIs have
        # by name.
        _CONFIGURATION: (
            "1060 1070 1080 1140 HTTP_403 HTTP_404 low-balance unauthorized forbidden not-found unprovisioned "
            "account-suspended application-suspended invalid-api-key invalid-ip invalid-signature "
            "multiple-auth-methods unavailable-legal"
        ),
        _THROTTLED: "1000 throttled rate-limit",
        # 1180, 1220 and 1230: not now. 1100: not submitted. 1241: not now, to this number.
        _TRANSIENT: "1100 1180 1220 1230 1241 1331",
        _UNKNOWN: "1030",
        # 1120: the number's country does not take this sender. 1160: a demo account, and the number is not on its list.
        _PERMANENT: "1010 1020 1040 1090 1120 1130 1160 1210 1250 1260 1280 1282 invalid-params invalid-json",
    }
)

#: Amazon SNS: the codes of ``Publish``.
SNS: Final = _table(
    {
        _ADDRESS: "OptedOut OptedOutException",
        _CONFIGURATION: (
            "AccessDenied AccessDeniedException AuthorizationError AuthorizationErrorException ExpiredToken "
            "ExpiredTokenException IncompleteSignature InvalidClientTokenId MissingAuthenticationToken OptInRequired "
            "SignatureDoesNotMatch UnrecognizedClientException InvalidAction HTTP_403"
        ),
        _THROTTLED: "Throttling ThrottlingException Throttled ThrottledException RequestLimitExceeded KMSThrottling",
        _TRANSIENT: "RequestExpired RequestTimeTooSkewed",
        _UNKNOWN: "InternalError InternalFailure InternalErrorException ServiceUnavailable",
        # UserError: a parameter of this request does not do.
        _PERMANENT: (
            "InvalidParameter InvalidParameterValue ParameterValueInvalid UserError UserErrorException ValidationError"
        ),
    }
)
