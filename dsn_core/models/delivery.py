"""Deliveries: one event, one backend, one receiver."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable
from typing import Any, Final

from django.conf import settings
from django.db import models, transaction
from django.db.models import Exists, F, OuterRef, Q, Subquery
from django.db.models.base import ModelState
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dsn_core.contracts.naming import MAX_NAME_LENGTH
from dsn_core.models.backend import Backend
from dsn_core.models.claimable import Claimable
from dsn_core.models.clock import DatabaseNow
from dsn_core.models.delivery_page import DeliveryPage
from dsn_core.models.event import Event
from dsn_core.models.shared import MessengerState
from dsn_core.models.sparse import DueIndex, SparseIndex, SparseUniqueConstraint
from dsn_core.models.subscription import Priority

#: Characters of an address, of a provider's id, and of an error that are kept.
ADDRESS_LENGTH: Final = 500
PROVIDER_ID_LENGTH: Final = 255
ERROR_LENGTH: Final = 2_000

#: The address of a delivery without a receiver, which carries the call of a messenger that chooses its users itself.
NO_ADDRESS: Final = ""


class Status(models.TextChoices):
    """What has become of a delivery."""

    PENDING = "pending", _("pending")
    SENDING = "sending", _("sending")
    SENT = "sent", _("sent")
    RETRY = "retry", _("retry")
    FAILED = "failed", _("failed")
    SKIPPED = "skipped", _("skipped")
    UNKNOWN = "unknown", _("unknown")
    CANCELLED = "cancelled", _("cancelled")


class Report(models.TextChoices):
    """What a provider reported later."""

    DELIVERED = "delivered", _("delivered")
    UNDELIVERED = "undelivered", _("undelivered")


#: Which status may follow which by itself. From a final one nothing follows but what an operator asks for
#: (:meth:`DeliveryQuerySet.retry`), and what a provider reports of an unknown one.
TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    **dict.fromkeys(Status, frozenset()),
    Status.PENDING: frozenset({Status.SENDING, Status.CANCELLED}),
    Status.RETRY: frozenset({Status.SENDING, Status.CANCELLED}),
    # To itself: the lease ran out, and another worker took over. To pending: it was given back before anything was
    # tried.
    Status.SENDING: frozenset(Status) - {Status.CANCELLED},
}
FINAL: Final = frozenset(status for status, following in TRANSITIONS.items() if not following)
#: What can be sent again: all that ended without being sent.
RETRIABLE: Final = FINAL - {Status.SENT}
#: What can be cancelled.
CANCELLABLE: Final = frozenset(status for status, following in TRANSITIONS.items() if Status.CANCELLED in following)

#: Waits in a page (:class:`~dsn_core.models.DeliveryPage`), which is claimed in its place.
IN_PAGE: Final = Q(page_key__isnull=False, status=Status.PENDING, not_before__isnull=True)
#: Waits, or is in a worker's hands.
UNFINISHED: Final = Q(not_before__isnull=False) | IN_PAGE


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def unfinished(self) -> DeliveryQuerySet:
        return self.filter(UNFINISHED)

    def finished(self) -> DeliveryQuerySet:
        return self.filter(Q(page_key__isnull=True) | ~Q(status=Status.PENDING), not_before__isnull=True)

    def of_page(self, page: DeliveryPage) -> DeliveryQuerySet:
        return self.filter(IN_PAGE, page_key=page.key, pk__gte=page.first_id, pk__lte=page.last_id)

    def retry(self) -> int:
        """Send those that ended without being sent once more, now, with all attempts before them; return how many.

        By the messengers that their backends have now. One whose outcome is unknown may arrive a second time. Those
        whose event's payload was purged stay as they are: nothing is left to send.
        """
        chosen = self.retriable()
        backend = Backend.objects.using(self.db).filter(pk=OuterRef("backend_id")).values("messenger")
        with transaction.atomic(using=self.db):
            MessengerState.objects.using(self.db).make_known(
                Backend.objects.using(self.db)
                .filter(pk__in=chosen.order_by().values("backend_id"))
                .values_list("messenger", flat=True)
            )
            return chosen.update(
                status=Status.RETRY,
                messenger=Coalesce(Subquery(backend), F("messenger")),
                not_before=DatabaseNow(),
                attempts=0,
                lease_token=None,
                page_key=None,
                finished_at=None,
                paused_at=None,
                held_since=None,
                # Reports are about the message that was sent before.
                provider_id="",
                report="",
                report_reason="",
                reported_at=None,
            )

    def retriable(self) -> DeliveryQuerySet:
        return self._ended().filter(self._has_payload())

    def purged(self) -> DeliveryQuerySet:
        """Those that could be sent again if what the signal said were still there."""
        return self._ended().filter(~self._has_payload())

    def _ended(self) -> DeliveryQuerySet:
        # One that carried a call to the end is done: the users that the messenger chose have their own.
        carried = Q(status=Status.SKIPPED, address_key=address_key(NO_ADDRESS))
        return self.filter(~carried, status__in=RETRIABLE)

    def _has_payload(self) -> Exists:
        return Exists(Event.objects.using(self.db).filter(pk=OuterRef("event_id")).exclude(payload=""))

    def of_message(self, message_id: str) -> DeliveryQuerySet:
        """The delivery whose :attr:`Delivery.message_id` this is; none when it is no such id."""
        occurrence, _dot, key = message_id.partition(".")
        try:
            return self.filter(pk=int(key), occurrence=uuid.UUID(hex=occurrence))
        except ValueError:
            return self.none()

    def cancellable(self) -> DeliveryQuerySet:
        return self.filter(status__in=CANCELLABLE)

    def cancel(self) -> int:
        """Send those that wait no more; return how many. One that is being sent just now is left alone."""
        chosen, token = self.cancellable(), uuid.uuid4()
        keys = chosen.filter(page_key__isnull=False).order_by().values("page_key")
        pages = DeliveryPage.objects.using(self.db)
        ours = pages.filter(lease_token=token)
        with transaction.atomic(using=self.db):
            # Written first, so that no worker claims these pages meanwhile. Leased pages are not among them.
            pages.filter(lease_token__isnull=True, key__in=keys).update(lease_token=token)
            of_ours = ours.filter(key=OuterRef("page_key"), first_id__lte=OuterRef("pk"), last_id__gte=OuterRef("pk"))
            cancelled = chosen.filter(Q(page_key__isnull=True) | Q(Exists(of_ours))).update(
                status=Status.CANCELLED, not_before=None, lease_token=None, page_key=None, finished_at=DatabaseNow()
            )
            ours.update(lease_token=None)
        return cancelled


class Delivery(Claimable):
    """One message to one receiver, and its status."""

    Status = Status
    Report = Report

    # None of the keys is enforced: history outlives what it was made from, and a fan-out does not look up each of a
    # hundred thousand receivers again.
    event = models.ForeignKey(
        Event, on_delete=models.CASCADE, db_constraint=False, related_name="deliveries", verbose_name=_("event")
    )
    backend = models.ForeignKey(
        Backend,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        related_name="deliveries",
        verbose_name=_("backend"),
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        db_index=False,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("user"),
    )
    not_before = models.DateTimeField(
        _("not before"),
        null=True,
        blank=True,
        help_text=_(
            "When it may be worked on; the end of the lease while a worker holds it; empty when finished, and while it "
            "waits in a page of deliveries that are claimed together."
        ),
    )
    occurrence = models.UUIDField(_("occurrence"))
    messenger = models.CharField(_("messenger"), max_length=MAX_NAME_LENGTH)
    address = models.CharField(_("address"), max_length=ADDRESS_LENGTH, blank=True)
    # Text compares differently from database to database; a hash in hex does not.
    address_key = models.CharField(max_length=64, null=True, editable=False)  # noqa: DJ001
    status = models.CharField(_("status"), max_length=10, choices=Status, default=Status.PENDING)
    priority = models.PositiveSmallIntegerField(_("priority"), choices=Priority, default=Priority.NORMAL)
    expires_at = models.DateTimeField(
        _("expires"), null=True, blank=True, help_text=_("From then on it is not sent any more.")
    )
    provider_id = models.CharField(_("provider's id"), max_length=PROVIDER_ID_LENGTH, blank=True)
    report = models.CharField(
        _("report"), max_length=12, choices=Report, blank=True, help_text=_("What the provider said later.")
    )
    report_reason = models.TextField(_("reason of the report"), blank=True)
    reported_at = models.DateTimeField(_("reported"), null=True, blank=True)
    # Of the pages that it waits in. Written when it is made, and emptied when it leaves its page: in no index.
    page_key = models.BigIntegerField(null=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now)
    finished_at = models.DateTimeField(_("finished"), null=True, blank=True)
    paused_at = models.DateTimeField(
        _("asked for a pause"), null=True, blank=True, help_text=_("When its messenger last asked for a pause at it.")
    )

    #: The columns that settling has changed. Not stored.
    settled: Collection[str] = ()

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-id"]
        constraints = [
            # A fan-out that runs again adds nothing, and two rules do not send the same twice.
            SparseUniqueConstraint(fields=["occurrence", "backend", "user"], name="dsn_delivery_user_once"),
            SparseUniqueConstraint(fields=["occurrence", "backend", "address_key"], name="dsn_delivery_address_once"),
        ]
        indexes = [
            DueIndex(fields=["messenger", "priority", "not_before", "id"], name="dsn_delivery_claim"),
            # For reports. Not db_index, by which PostgreSQL gets a second one, for LIKE.
            SparseIndex(fields=["provider_id"], name="dsn_delivery_provider"),
        ]

    def __str__(self) -> str:
        return f"{self.event_id}/{self.pk} by {self.messenger} to {self.receiver_label}: {self.status}"

    @classmethod
    def from_db(
        cls, db: str | None, field_names: Iterable[str], values: Iterable[Any], *, fetch_mode: Any = None
    ) -> Delivery:
        """A row as it was read, without going through the fields one by one, and without pre_init and post_init.

        Django's own takes as long as all else that a claim does, and no receiver listens to this model.
        """
        row = cls.__new__(cls)
        state = row._state = ModelState()
        state.adding, state.db = False, db
        if fetch_mode is not None:
            state.fetch_mode = fetch_mode
        row.__dict__.update(zip(field_names, values, strict=True))
        return row

    def like(self, **values: Any) -> Delivery:
        """A new delivery of the same event by the same backend, with ``values`` of its own."""
        shared = ("event_id", "backend_id", "occurrence", "messenger", "priority", "expires_at", "created_at")
        return Delivery(**{name: getattr(self, name) for name in shared} | values)

    @property
    def receiver_label(self) -> str:
        """The receiver in a word, without a query."""
        return self.address or (f"user {self.user_id}" if self.user_id is not None else "no receiver")

    @property
    def message_id(self) -> str:
        """The message's id: the same at every attempt, different for every delivery."""
        return f"{self.occurrence.hex}.{self.id}"


def address_key(address: str) -> str:
    """What makes two bare addresses the same receiver."""
    return hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()
