"""The view that providers call."""

from __future__ import annotations

import logging

from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from dsn_core import record_report
from dsn_core.kit import describe
from dsn_sms import accounts, inbound
from dsn_sms.exceptions import BadSettings, Forged, NoAnswer, NoConnection, Unreadable
from dsn_sms.providers.base import Inbound, Report

logger = logging.getLogger("dsn_sms")


@csrf_exempt
@require_http_methods(["GET", "POST"])
def callback(request: HttpRequest, alias: str) -> HttpResponse:
    """Take a report or an incoming message from the provider of the account ``alias``.

    Answers 403 to what the provider did not sign, 400 to what makes no sense, and 503 to what should come again:
    a report about a message that is not known yet, or something that a receiver of ``sms_received`` failed on.
    """
    provider = accounts.provider_of(alias)
    if provider is None:
        raise Http404("There is no such account.")
    try:
        events = list(provider.receive(request))
    except Forged as error:
        logger.warning("A request to the callback of %s was refused. %s", alias, error)
        return HttpResponse(status=403)
    except Unreadable as error:
        logger.warning("A request to the callback of %s cannot be used. %s", alias, error)
        return HttpResponse(status=400)
    except (NoAnswer, NoConnection, BadSettings) as error:
        logger.warning("A request to the callback of %s must come again. %s", alias, error)
        return HttpResponse(status=503)
    except Exception as error:
        # A provider of another package that does not expect what can be sent to it.
        said = provider.options.mask(describe(error))
        logger.error(
            "The SMS provider %s could not read a request to the callback of %s: %s",
            provider.name,
            alias,
            said,
            exc_info=provider.options.exc_info(error),
        )
        return HttpResponse(status=400)
    done = [_take(event, alias) for event in events]
    return HttpResponse(status=provider.callback_status if all(done) else 503)


def _take(event: Report | Inbound, alias: str) -> bool:
    """Do what ``event`` asks for. Returns False when it should come again."""
    if isinstance(event, Inbound):
        return inbound.pass_on(event, alias)
    if event.message_id:
        # Its row is older than the message. When it is not there, it is purged, or another system's or messenger's.
        if record_report(event.state, messenger=alias, message_id=event.message_id, reason=event.reason):
            return True
        logger.info("A report about the unknown message %r of %s.", event.message_id[:100], alias)
        return True
    # The provider's id is stored when the batch is settled, and a report can be faster.
    return record_report(event.state, messenger=alias, provider_id=event.provider_id, reason=event.reason)
