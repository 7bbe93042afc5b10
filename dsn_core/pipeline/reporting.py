"""Reports: what a provider says, after it took a message, of what became of it."""

from __future__ import annotations

import logging

from django.db import transaction

from dsn_core.models import Delivery
from dsn_core.models.clock import DatabaseNow
from dsn_core.models.delivery import ERROR_LENGTH, Report
from dsn_core.models.sql import storable
from dsn_core.pipeline.settling import believe_reports
from dsn_core.signals import delivery_reported

logger = logging.getLogger("dsn_core.reporting")


def record(
    state: str, *, using: str, message_id: str = "", messenger: str = "", provider_id: str = "", reason: str = ""
) -> bool:
    """See :func:`dsn_core.record_report`."""
    report = Report(state)
    rows = Delivery.objects.using(using)
    if message_id:
        found = rows.of_message(message_id)
    elif messenger and provider_id:
        found = rows.filter(provider_id=provider_id, messenger=messenger)
    else:
        raise ValueError("A report is about a message_id, or about a messenger and its provider_id.")
    delivery = found.order_by("-id").first()
    if delivery is None:
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
