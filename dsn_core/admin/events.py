"""The admin of events."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_permission_codename
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dsn_core import conf
from dsn_core.admin.bulk import BulkAction
from dsn_core.admin.display import (
    MAX_LISTED,
    NOTHING,
    TONES,
    badge,
    badge_of,
    block,
    change_link,
    changelist_url,
    delivery_badges,
    excerpt,
    grouped,
    joined,
    link,
    receiver,
    reference,
    reference_column,
    table,
)
from dsn_core.admin.history import HistoryAdmin, VerbFilter
from dsn_core.models import Delivery, Event
from dsn_core.models.delivery import Status
from dsn_core.models.event import EventQuerySet
from dsn_core.payload.placeholders import HIDDEN, SIZE, missing_in
from dsn_core.references import find_model

#: For a list, deliveries of events with more receivers are not counted: that could read millions of rows.
MAX_COUNTED: Final = 10_000
#: Characters of the largest payload that is decoded.
MAX_DECODED: Final = 1_000_000


@admin.register(Event)
class EventAdmin(HistoryAdmin[Event]):
    list_display = [
        "__str__",
        "status_shown",
        "deliveries_shown",
        "trigger_shown",
        "created_at",
        "error_begun",
        "attempts",
        "not_before",
    ]
    list_filter = ["status", VerbFilter, "created_at"]
    search_fields = ["verb"]
    search_help_text = gettext_lazy("An event's number, an occurrence's id, or a verb.")
    deleted_with = [(Delivery, "event__in")]
    fieldsets = [
        (None, {"fields": ["verb", "status_shown", "trigger_shown", "created_at"]}),
        (gettext_lazy("Data of the signal"), {"fields": ["missing_shown", "payload_shown"]}),
        (gettext_lazy("Deliveries"), {"fields": ["progress_shown", "deliveries_listed"]}),
        (gettext_lazy("Fan-out"), {"fields": ["attempts", "not_before", "error_shown", "occurrence", "depth"]}),
    ]

    actions = ["delete_selected", "retry"]

    trigger_shown = reference_column("trigger", gettext_lazy("trigger"), 60)

    retry = BulkAction(
        name="retry",
        short_description=gettext_lazy("Expand selected failed events again"),
        title=gettext_lazy("Expand failed events again"),
        button=gettext_lazy("Expand them again"),
        statuses={Event.Status.FAILED: gettext_lazy("Receivers that have their delivery already get no second one.")},
        preset=[Event.Status.FAILED],
        able=EventQuerySet.retriable,
        purged=EventQuerySet.purged,
        perform=EventQuerySet.retry,
        done=lambda number: ngettext("%d event is expanded again.", "%d events are expanded again.", number) % number,
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        # Prefetched, not joined: a join would hide the events whose trigger is deleted.
        return super().get_queryset(request).defer("payload").prefetch_related("trigger")

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Event | None:
        event = super().get_object(request, object_id, from_field)
        if event is not None:
            # The user's permissions decide which parts are shown.
            vars(event)["may_view"] = functools.partial(self._may_view, request)
        return event

    def _may_view(self, request: HttpRequest, label: str) -> bool:
        """Whether the user may view rows of the model ``label``; empty: of every model."""
        if (model := find_model(label)) is None:
            # Permissions for a model that does not exist cannot be granted.
            return bool(request.user.is_superuser)
        if (other := self.admin_of(model)) is not None:
            return bool(other.has_view_permission(request))
        names = [get_permission_codename(action, model._meta) for action in ("view", "change")]
        return any(request.user.has_perm(f"{model._meta.app_label}.{name}") for name in names)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        # One query for all events of the page.
        found = _count(event for event in changes.result_list if event.found <= MAX_COUNTED)
        for event in changes.result_list:
            event.numbers = found.get(event.pk)
        return changes

    @admin.display(description=gettext_lazy("status"))
    def status_shown(self, event: Event) -> SafeString:
        return badge_of(event)

    @admin.display(description=gettext_lazy("deliveries"))
    def deliveries_shown(self, event: Event) -> str:
        url = changelist_url(self.admin_site, Delivery, event=event.pk)
        numbers: Counter[str] | None = vars(event)["numbers"]
        if numbers is None:
            return link(url, _("%(number)s receivers") % {"number": grouped(event.found)})
        if not numbers:
            return format_html('<span class="quiet">{}</span>', _("none"))
        text = _("%(sent)d of %(made)d sent") % {"sent": numbers[Status.SENT], "made": numbers.total()}
        return joined(
            [_bar(numbers), link(url, text), _badges(numbers, Status.RETRY, Status.FAILED, Status.UNKNOWN)], " "
        )

    @admin.display(description=gettext_lazy("payload"))
    def payload_shown(self, event: Event) -> SafeString:
        return block(readable(event.payload, vars(event).get("may_view", lambda label: False)))

    @admin.display(description=gettext_lazy("not stored"))
    def missing_shown(self, event: Event) -> SafeString | str:
        found = missing_in(event.payload) if len(event.payload) <= MAX_DECODED else []
        if not found:
            return NOTHING
        secret = _("It counts as a secret; DSN['PLAIN_FIELDS'] allows a name.")
        rows = [(item.name, secret if item.kind == HIDDEN else item.why) for item in found[:MAX_LISTED]]
        help_text = _("A message that uses one of these fails, and its error says what to do.")
        if any(item.kind == SIZE for item in found):
            limit = conf.current().MAX_PAYLOAD_BYTES
            bound = _("An event holds up to DSN['MAX_PAYLOAD_BYTES'], which is %(limit)d.") % {"limit": limit}
            help_text = f"{help_text} {bound}"
        items = format_html_join("", "<li><code>{}</code>: {}</li>", rows)
        return format_html('<ul class="dsn-missing">{}</ul><p class="help">{}</p>', items, help_text)

    @admin.display(description=gettext_lazy("progress"))
    def progress_shown(self, event: Event) -> SafeString:
        numbers = _count([event])[event.pk]
        note = ""
        if event.status in (Event.Status.PENDING, Event.Status.EXPANDING):
            note = _("Its receivers are still being looked for.")
        elif event.found or not numbers:
            note = _("Its subscriptions found %(number)d receivers.") % {"number": event.found}
        text = _("%(number)d deliveries were made.") % {"number": numbers.total()}
        if not numbers:
            return joined([note, text], " ")
        bar, badges = _bar(numbers), _badges(numbers, *Status)
        return format_html('<div class="dsn-progress">{} {}{}<div>{}</div></div>', note, text, bar, badges)

    @admin.display(description=gettext_lazy("the latest"))
    def deliveries_listed(self, event: Event) -> str:
        found = event.deliveries.prefetch_related("user", "backend")[:MAX_LISTED]
        rows = [
            (
                change_link(self.admin_site, delivery, f"#{delivery.pk}"),
                delivery_badges(delivery),
                reference(self.admin_site, delivery, "backend"),
                receiver(self.admin_site, delivery),
                excerpt(delivery.last_error, 60),
            )
            for delivery in found
        ]
        if not rows:
            return NOTHING
        every = link(changelist_url(self.admin_site, Delivery, event=event.pk), _("All deliveries of this event"))
        heads = [_("Delivery"), _("Status"), _("Backend"), _("Receiver"), _("Error")]
        return format_html("{}<p>{}</p>", table(heads, rows), every)


def _count(events: Iterable[Event]) -> dict[Any, Counter[str]]:
    """The numbers of deliveries by status, for the keys of ``events``, by one query."""
    numbers: dict[Any, Counter[str]] = {event.pk: Counter() for event in events}
    if numbers:
        rows = Delivery.objects.filter(event__in=list(numbers)).order_by()
        for key, status, number in rows.values_list("event", "status").annotate(number=Count("pk")):
            numbers[key][status] = number
    return numbers


def _badges(numbers: Counter[str], *statuses: Status) -> SafeString:
    """The numbers that are not zero, each in the colour of its status."""
    some = [status for status in statuses if numbers[status]]
    return joined((badge(f"{status.label} {numbers[status]}", TONES[status]) for status in some), " ")


def _bar(numbers: Counter[str]) -> SafeString:
    """A bar with a part for each status. Without inline styles, which a strict CSP would refuse."""
    pieces, begin, labels = [], 0, []
    for status in Status:
        if number := numbers[status]:
            pieces.append((TONES[status], begin, number))
            labels.append(f"{status.label} {number}")
            begin += number
    return format_html(
        '<svg class="dsn-bar" viewBox="0 0 {width} 1" preserveAspectRatio="none" role="img" aria-label="{label}">'
        "<title>{label}</title>{pieces}</svg>",
        width=begin,
        label=", ".join(labels),
        pieces=format_html_join("", '<rect class="dsn-bar-{}" x="{}" y="0" width="{}" height="1"/>', pieces),
    )


def readable(payload: str, may_view: Callable[[str], bool]) -> str:
    """JSON with line breaks, with the rows of those models for which ``may_view(label)`` is true.

    When it cannot be decoded, the stored text, if rows of every model may be shown.
    """
    if len(payload) <= MAX_DECODED:
        try:
            shown = _without_rows(json.loads(payload), functools.cache(may_view))
            return json.dumps(shown, indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            pass
    if not payload or may_view(""):
        return payload
    return _("It cannot be decoded, so only superusers can see it.")


def _without_rows(data: Any, may_view: Callable[[str], bool]) -> Any:
    """``data`` of a payload without rows that the user may not view."""
    if isinstance(data, list):
        return [_without_rows(item, may_view) for item in data]
    if not isinstance(data, dict):
        return data
    if data.get("$") in ("instance", "queryset") and not may_view(str(data.get("model"))):
        return {"$": data["$"], "model": data.get("model"), "v": _("You may not view rows of this model.")}
    return {key: _without_rows(item, may_view) for key, item in data.items()}
