"""The admin of deliveries."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Prefetch, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dsn_core.admin.bulk import BulkAction
from dsn_core.admin.display import badge_of, block, delivery_badges, receiver, reference_column, value_column
from dsn_core.admin.history import HistoryAdmin, MessengerFilter
from dsn_core.models import Delivery, Event
from dsn_core.models.delivery import CANCELLABLE, DeliveryQuerySet, Status


@admin.register(Delivery)
class DeliveryAdmin(HistoryAdmin[Delivery]):
    list_display = [
        "number",
        "status_shown",
        "event_shown",
        "backend_shown",
        "receiver_shown",
        "error_begun",
        "attempts",
        "not_before",
    ]
    list_filter = ["status", "report", MessengerFilter, "priority", "created_at"]
    search_fields = ["address", "provider_id__exact"]
    search_help_text = gettext_lazy("An address or a part of it, a delivery's number, or any id of a delivery.")
    fieldsets = [
        (None, {"fields": ["status_shown", "event_shown", "backend_shown", "messenger"]}),
        (gettext_lazy("Receiver"), {"fields": ["user_shown", "address"]}),
        (
            gettext_lazy("Result"),
            {
                "fields": [
                    *("attempts", "not_before", "expires_at", "error_shown", "provider_id"),
                    *("created_at", "finished_at"),
                ]
            },
        ),
        (gettext_lazy("Provider's report"), {"fields": ["report_shown", "reason_shown", "reported_at"]}),
        (gettext_lazy("Details"), {"fields": ["message_id", "occurrence", "priority"], "classes": ["collapse"]}),
    ]

    actions = ["delete_selected", "retry", "cancel"]

    event_shown = reference_column("event", gettext_lazy("event"))
    backend_shown = reference_column("backend", gettext_lazy("backend"))
    user_shown = reference_column("user", gettext_lazy("user"))
    reason_shown = value_column("report_reason", gettext_lazy("reason of the report"), block)
    message_id = value_column("message_id", gettext_lazy("message id"), str)

    retry = BulkAction(
        name="retry",
        short_description=gettext_lazy("Send selected deliveries again"),
        title=gettext_lazy("Send deliveries again"),
        button=gettext_lazy("Send them again"),
        statuses={
            Status.FAILED: "",
            Status.UNKNOWN: gettext_lazy("They may have arrived, and may arrive a second time."),
            Status.CANCELLED: gettext_lazy("They were cancelled by a user or by code."),
            Status.SKIPPED: gettext_lazy("A filter excluded them, or there was no address, or they had expired."),
        },
        preset=[Status.FAILED],
        able=DeliveryQuerySet.retriable,
        purged=DeliveryQuerySet.purged,
        perform=DeliveryQuerySet.retry,
        done=lambda number: ngettext("%d delivery is sent again.", "%d deliveries are sent again.", number) % number,
    )
    cancel = BulkAction(
        name="cancel",
        short_description=gettext_lazy("Cancel selected deliveries"),
        title=gettext_lazy("Cancel deliveries"),
        button=gettext_lazy("Cancel them"),
        statuses=dict.fromkeys([status for status in Status if status in CANCELLABLE], ""),
        preset=CANCELLABLE,
        able=DeliveryQuerySet.cancellable,
        perform=DeliveryQuerySet.cancel,
        done=lambda number: ngettext("%d delivery was cancelled.", "%d deliveries were cancelled.", number) % number,
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        # Prefetched, not joined: a join would hide the deliveries whose event, backend or user is deleted.
        events = Event.objects.defer("payload")
        return super().get_queryset(request).prefetch_related(Prefetch("event", events), "backend", "user")

    @admin.display(description=gettext_lazy("number"))
    def number(self, delivery: Delivery) -> str:
        return f"#{delivery.pk}"

    @admin.display(description=gettext_lazy("status"))
    def status_shown(self, delivery: Delivery) -> str:
        return delivery_badges(delivery)

    @admin.display(description=gettext_lazy("receiver"))
    def receiver_shown(self, delivery: Delivery) -> str:
        return receiver(self.admin_site, delivery)

    @admin.display(description=gettext_lazy("report"))
    def report_shown(self, delivery: Delivery) -> str:
        return badge_of(delivery, "report") or _("none yet")
