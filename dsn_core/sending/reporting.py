"""Reports: what a provider says, after it took a message, of what became of it."""

from __future__ import annotations

import logging

from django.db import transaction

from dsn_core.models import Delivery
from dsn_core.models.clock import DatabaseNow
from dsn_core.models.delivery import ERROR_LENGTH, PROVIDER_ID_LENGTH, Report
from dsn_core.models.sql import storable
from dsn_core.sending.settling import believe_reports
from dsn_core.signals import delivery_reported

logger = logging.getLogger("dsn_core.reporting")


def record(
    state: str, *, using: str, messenger: str, message_id: str = "", provider_id: str = "", reason: str = ""
) -> bool:
    """See :func:`dsn_core.record_report`."""
    report = Report(state)
    rows = Delivery.objects.using(using)
    if not messenger or not (message_id or provider_id):
        raise ValueError("A report names its messenger, and the message_id or the provider_id of the delivery.")
    if message_id:
        found = rows.of_message(message_id)
    elif provider_id == storable(provider_id, PROVIDER_ID_LENGTH):
        found = rows.filter(provider_id=provider_id, messenger=messenger)
    else:
        # No id that was ever stored; some databases refuse to look for it.
        return False
    delivery = found.order_by("-id").first()
    if delivery is None:
        return False
    if delivery.messenger != messenger:
        # A sender that can sign for one account could otherwise speak about the deliveries of all others.
        logger.warning(
            "A report of %s was refused: it is about %s, a delivery of another messenger.", messenger, delivery
        )
        return False
    text = storable(reason, ERROR_LENGTH)
    row = rows.filter(pk=delivery.pk)
    with transaction.atomic(using=using):
        # Providers repeat themselves, and speak out of order: the first word that is final stays.
        is_news = row.filter(report="").update(report=report, report_reason=text, reported_at=DatabaseNow())
        if is_news:
            believe_reports(row)
    if is_news:
        delivery.refresh_from_db()
        if report is Report.UNDELIVERED:
            logger.warning("%s: the provider could not deliver it: %s", delivery, text or "no reason given")
        delivery_reported.send_robust(sender=Delivery, delivery=delivery, state=str(report), reason=text)
    return True
