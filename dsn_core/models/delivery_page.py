"""Pages of deliveries: what one INSERT of a fan-out made is claimed as a page, and not row by row."""

from __future__ import annotations

import datetime
from typing import Final

from django.db import models
from django.utils.translation import gettext_lazy as _

from dsn_core.contracts.naming import MAX_NAME_LENGTH
from dsn_core.models.event import Event
from dsn_core.models.subscription import Priority

#: Keys of deliveries that one page spans at most.
PAGE_SIZE: Final = 1_000


class DeliveryPage(models.Model):
    """Deliveries of one event, messenger and priority that wait together: the lease of all of them is this one row.

    They are those with the same ``key`` among the keys from ``first_id`` to ``last_id`` that have not left the page.
    Pages of the same ``key`` never overlap, so that a page can be divided without writing its deliveries. A page whose
    deliveries have all left it is deleted. ``not_before`` is when it may be worked on, and the end of the lease while a
    worker holds it.
    """

    event = models.ForeignKey(
        Event, on_delete=models.CASCADE, db_constraint=False, related_name="+", verbose_name=_("event")
    )
    messenger = models.CharField(_("messenger"), max_length=MAX_NAME_LENGTH)
    priority = models.PositiveSmallIntegerField(_("priority"), choices=Priority, default=Priority.NORMAL)
    key = models.BigIntegerField()
    first_id = models.BigIntegerField()
    last_id = models.BigIntegerField()
    not_before = models.DateTimeField(_("not before"))
    lease_token = models.UUIDField(_("lease"), null=True, blank=True, editable=False)

    #: What ``not_before`` said when it was claimed. Not stored.
    due_at: datetime.datetime | None = None

    class Meta:
        verbose_name = _("page of deliveries")
        verbose_name_plural = _("pages of deliveries")
        indexes = [models.Index(fields=["messenger", "priority", "not_before", "id"], name="dsn_page_claim")]

    def __str__(self) -> str:
        return f"{self.event_id}/{self.first_id}-{self.last_id} by {self.messenger}"
