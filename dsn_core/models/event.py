"""Events: a trigger matched a signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext_lazy as _

from dsn_core import payload
from dsn_core.contracts.activities import Activity
from dsn_core.contracts.messages import EventInfo
from dsn_core.contracts.naming import MAX_NAME_LENGTH
from dsn_core.models.claimable import Claimable
from dsn_core.models.clock import DatabaseNow, uuid7
from dsn_core.models.trigger import Trigger


class EventQuerySet(models.QuerySet["Event"]):
    def retry(self) -> int:
        """Expand the failed ones again, after their cause was fixed; return how many.

        Receivers that already have a delivery get no second one. Events whose payload was purged stay as they are.
        """
        return self.retriable().update(
            status=Event.Status.PENDING, not_before=DatabaseNow(), attempts=0, lease_token=None
        )

    def retriable(self) -> EventQuerySet:
        return self.filter(status=Event.Status.FAILED).exclude(payload="")

    def purged(self) -> EventQuerySet:
        """The failed events whose payload was purged, so that they cannot be expanded again."""
        return self.filter(status=Event.Status.FAILED, payload="")


class Event(Claimable):
    """One trigger matched one signal. Its fan-out makes the deliveries.

    ``action_object``, ``actor_object``, ``target``, ``sender`` and ``signal_kwargs`` are read from the payload.
    """

    class Status(models.TextChoices):
        PENDING = "pending", _("pending")
        EXPANDING = "expanding", _("expanding")
        EXPANDED = "expanded", _("expanded")
        FAILED = "failed", _("failed")

    # No enforced key: another process may delete the trigger, and then the COMMIT of the code that
    # fired the signal would fail, and its data would be lost.
    trigger = models.ForeignKey(
        Trigger, on_delete=models.DO_NOTHING, db_constraint=False, related_name="events", verbose_name=_("trigger")
    )
    occurrence = models.UUIDField(
        _("occurrence"), default=uuid7, db_index=True, help_text=_("Shared by all events of one signal.")
    )
    verb = models.CharField(_("verb"), max_length=MAX_NAME_LENGTH)
    payload = models.TextField(_("payload"), editable=False)
    depth = models.PositiveSmallIntegerField(
        _("depth"), default=0, help_text=_("How many messages caused one another before this.")
    )
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.PENDING)
    found = models.PositiveIntegerField(
        _("receivers found"), default=0, help_text=_("By all its subscriptions; the same receiver may be found twice.")
    )
    created_at = models.DateTimeField(_("created"), default=timezone.now, db_index=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ["-id"]
        indexes = [models.Index(fields=["not_before", "id"], name="dsn_event_claim")]

    def __str__(self) -> str:
        return f"{self.verb} #{self.pk}"

    @cached_property
    def activity(self) -> Activity:
        """The signal's parts and arguments. Raises :class:`~dsn_core.exceptions.PayloadError`."""
        return payload.load(self.verb, self.payload)

    @cached_property
    def info(self) -> EventInfo:
        return EventInfo(self.pk, self.verb, self.occurrence, self.created_at)

    @property
    def action_object(self) -> Any:
        return self.activity.action_object

    @property
    def actor_object(self) -> Any:
        return self.activity.actor_object

    @property
    def target(self) -> str:
        return self.activity.target

    @property
    def sender(self) -> Any:
        return self.activity.sender

    @property
    def signal_kwargs(self) -> Mapping[str, Any]:
        return self.activity.signal_kwargs

    @property
    def trigger_context(self) -> dict[str, Any]:
        return self.activity.trigger_context
