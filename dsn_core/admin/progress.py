"""The progress of events: their deliveries by status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from django.contrib.admin.views.main import ChangeList
from django.db.models import Count
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dsn_core.admin.display import TONES, badge, link
from dsn_core.models import Delivery, Event
from dsn_core.models.delivery import Status

#: For a list, deliveries of events with more receivers are not counted: that could read millions of rows.
MAX_COUNTED: Final = 10_000
#: The statuses that a list shows beside the sent ones, since they may need attention.
_TROUBLE: Final = (Status.RETRY, Status.FAILED, Status.UNKNOWN)


@dataclass(frozen=True)
class Progress:
    """The number of deliveries of one event, by status."""

    numbers: Mapping[str, int] = field(default_factory=dict)

    @property
    def made(self) -> int:
        """The number of all deliveries."""
        return sum(self.numbers.values())

    def of(self, status: str) -> int:
        """The number with this status."""
        return self.numbers.get(status, 0)

    def badges(self, statuses: Iterable[Status] = tuple(Status)) -> SafeString:
        """The numbers that are not zero, each in the colour of its status."""
        some = [status for status in statuses if self.of(status)]
        return format_html_join(
            " ", "{}", ([badge(f"{status.label} {self.of(status)}", TONES[status])] for status in some)
        )

    def bar(self) -> SafeString:
        """A bar with a part for each status. Without inline styles, which a strict CSP would refuse."""
        some = [status for status in Status if self.of(status)]
        pieces, begin = [], 0
        for status in some:
            pieces.append((TONES[status], begin, self.of(status)))
            begin += self.of(status)
        said = ", ".join(f"{status.label} {self.of(status)}" for status in some)
        return format_html(
            '<svg class="dsn-bar" viewBox="0 0 {} 1" preserveAspectRatio="none" role="img" aria-label="{}">'
            "<title>{}</title>{}</svg>",
            self.made,
            said,
            said,
            format_html_join("", '<rect class="dsn-bar-{}" x="{}" y="0" width="{}" height="1"/>', pieces),
        )


def count(events: Iterable[Event]) -> dict[Any, Progress]:
    """The progress of ``events`` by their keys, by one query."""
    numbers: dict[Any, dict[str, int]] = {event.pk: {} for event in events}
    if numbers:
        rows = Delivery.objects.filter(event__in=list(numbers)).order_by()
        for key, status, number in rows.values_list("event", "status").annotate(number=Count("pk")):
            numbers[key][status] = number
    return {key: Progress(found) for key, found in numbers.items()}


def line(event: Event, progress: Progress | None, url: str) -> SafeString:
    """A list's cell: a bar, the number sent, and the numbers that need attention. None: too many to count."""
    if progress is None:
        number = number_format(event.found, force_grouping=True)
        return link(url, _("%(number)s receivers") % {"number": number})
    if not progress.made:
        return format_html('<span class="quiet">{}</span>', _("none"))
    text = _("%(sent)d of %(made)d sent") % {"sent": progress.of(Status.SENT), "made": progress.made}
    return format_html("{} {} {}", progress.bar(), link(url, text), progress.badges(_TROUBLE))


def paragraph(event: Event, progress: Progress) -> SafeString:
    """All numbers, for the event's page."""
    if event.status in (Event.Status.PENDING, Event.Status.EXPANDING):
        note = _("Its receivers are still being looked for.")
    elif event.found or not progress.made:
        note = _("Its subscriptions found %(number)d receivers.") % {"number": event.found}
    else:
        note = ""
    made = _("%(number)d deliveries were made.") % {"number": progress.made}
    if not progress.made:
        return format_html("{} {}", note, made)
    return format_html(
        '<div class="dsn-progress">{} {}{}<div>{}</div></div>', note, made, progress.bar(), progress.badges()
    )


class EventChangeList(ChangeList):
    """A page of events, each with its ``progress``, with one query for all."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        found = count(event for event in self.result_list if event.found <= MAX_COUNTED)
        for event in self.result_list:
            event.progress = found.get(event.pk)
