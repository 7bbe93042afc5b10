"""The progress of events: the numbers of their deliveries by status."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from django.contrib.admin.views.main import ChangeList
from django.db.models import Count
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dsn_core.admin.display import TONES, badge, grouped, joined, link
from dsn_core.models import Delivery, Event
from dsn_core.models.delivery import Status

#: For a list, deliveries of events with more receivers are not counted: that could read millions of rows.
MAX_COUNTED: Final = 10_000
#: The statuses that a list shows beside the sent ones, since they may need attention.
_TROUBLE: Final = (Status.RETRY, Status.FAILED, Status.UNKNOWN)


def count(events: Iterable[Event]) -> dict[Any, Counter[str]]:
    """The numbers of deliveries by status, for the keys of ``events``, by one query."""
    numbers: dict[Any, Counter[str]] = {event.pk: Counter() for event in events}
    if numbers:
        rows = Delivery.objects.filter(event__in=list(numbers)).order_by()
        for key, status, number in rows.values_list("event", "status").annotate(number=Count("pk")):
            numbers[key][status] = number
    return numbers


def line(event: Event, numbers: Counter[str] | None, url: str) -> SafeString:
    """A list's cell: a bar, the number sent, and the numbers that need attention. None: too many to count."""
    if numbers is None:
        return link(url, _("%(number)s receivers") % {"number": grouped(event.found)})
    made = numbers.total()
    if not made:
        return format_html('<span class="quiet">{}</span>', _("none"))
    text = _("%(sent)d of %(made)d sent") % {"sent": numbers[Status.SENT], "made": made}
    return format_html("{} {} {}", _bar(numbers), link(url, text), _badges(numbers, _TROUBLE))


def paragraph(event: Event, numbers: Counter[str]) -> SafeString:
    """All numbers, for the event's page."""
    made = numbers.total()
    note = ""
    if event.status in (Event.Status.PENDING, Event.Status.EXPANDING):
        note = _("Its receivers are still being looked for.")
    elif event.found or not made:
        note = _("Its subscriptions found %(number)d receivers.") % {"number": event.found}
    text = _("%(number)d deliveries were made.") % {"number": made}
    if not made:
        return format_html("{} {}", note, text)
    return format_html(
        '<div class="dsn-progress">{} {}{}<div>{}</div></div>', note, text, _bar(numbers), _badges(numbers, Status)
    )


def _badges(numbers: Counter[str], statuses: Iterable[Status]) -> SafeString:
    """The numbers that are not zero, each in the colour of its status."""
    some = [status for status in statuses if numbers[status]]
    return joined((badge(f"{status.label} {numbers[status]}", TONES[status]) for status in some), " ")


def _bar(numbers: Counter[str]) -> SafeString:
    """A bar with a part for each status. Without inline styles, which a strict CSP would refuse."""
    some = [status for status in Status if numbers[status]]
    pieces, begin = [], 0
    for status in some:
        pieces.append((TONES[status], begin, numbers[status]))
        begin += numbers[status]
    text = ", ".join(f"{status.label} {numbers[status]}" for status in some)
    return format_html(
        '<svg class="dsn-bar" viewBox="0 0 {} 1" preserveAspectRatio="none" role="img" aria-label="{}">'
        "<title>{}</title>{}</svg>",
        begin,
        text,
        text,
        format_html_join("", '<rect class="dsn-bar-{}" x="{}" y="0" width="{}" height="1"/>', pieces),
    )


class EventChangeList(ChangeList):
    """A page of events, each with the ``numbers`` of its deliveries, with one query for all."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = count(event for event in self.result_list if event.found <= MAX_COUNTED)
        for event in self.result_list:
            event.numbers = found.get(event.pk)
