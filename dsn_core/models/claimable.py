"""The base of rows that workers claim: events and deliveries."""

from __future__ import annotations

import datetime

from django.db import models
from django.utils.translation import gettext_lazy as _


class Claimable(models.Model):
    """Work that is due, waits, or is held by a worker: one mechanism for all three.

    ``not_before`` is the moment from which a worker may take the row: now for new work, later for
    what waits or is retried, the end of the lease while a worker holds it. None: there is nothing
    left to do. An index that begins with the work's class and goes on with ``not_before`` therefore
    holds just the open rows, on every database, and finished ones cost a claim nothing.
    """

    not_before = models.DateTimeField(
        _("not before"),
        null=True,
        blank=True,
        help_text=_("When it may be worked on; the end of the lease while a worker holds it; empty when finished."),
    )
    held_since = models.DateTimeField(
        _("held since"),
        null=True,
        blank=True,
        help_text=_("Since when it waits for something to be installed, or for a setting to be mended."),
    )
    lease_token = models.UUIDField(_("lease"), null=True, blank=True, editable=False)
    attempts = models.PositiveSmallIntegerField(_("attempts"), default=0)
    last_error = models.TextField(_("last error"), blank=True)

    #: The value of ``not_before`` when it was claimed. Not stored.
    due_at: datetime.datetime | None = None

    class Meta:
        abstract = True
