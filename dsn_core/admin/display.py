"""Values as HTML for lists and pages. All functions escape their arguments."""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable, Iterable
from typing import Any, Final

from django.contrib.admin import AdminSite, display
from django.contrib.admin.utils import quote
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timesince import timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dsn_core.models import Delivery, Event

#: The content of an empty cell.
NOTHING: Final = "-"
#: How many rows a page names; of the others it shows only the number.
MAX_LISTED: Final = 25
#: Characters that a page shows of a payload or an error.
MAX_SHOWN: Final = 20_000

#: The badge's look, by status; ``static/dsn_core/admin.css`` draws them.
TONES: Final[dict[str, str]] = {
    **dict.fromkeys([Delivery.Status.PENDING, Delivery.Status.SENDING, Event.Status.EXPANDING], "busy"),
    **dict.fromkeys([Delivery.Status.SENT, Event.Status.EXPANDED, Delivery.Report.DELIVERED], "good"),
    **dict.fromkeys([Delivery.Status.FAILED, Delivery.Report.UNDELIVERED], "bad"),
    **dict.fromkeys([Delivery.Status.SKIPPED, Delivery.Status.CANCELLED], "quiet"),
    Delivery.Status.RETRY: "warning",
    Delivery.Status.UNKNOWN: "doubt",
}


def badge(text: object, tone: str) -> SafeString:
    """``text`` on a colour: good, busy, warning, bad, doubt or quiet."""
    return format_html('<span class="dsn-badge dsn-badge-{}">{}</span>', tone, text)


def badge_of(row: Delivery | Event, name: str = "status") -> SafeString:
    """The row's status, or its report; empty when it has none."""
    value = getattr(row, name)
    return badge(getattr(row, f"get_{name}_display")(), TONES.get(value, "quiet")) if value else SafeString()


def delivery_badges(delivery: Delivery) -> SafeString:
    """The status of a delivery, and what the provider reported beside it."""
    return joined(filter(None, [badge_of(delivery), badge_of(delivery, "report")]), " ")


def joined(items: Iterable[object], separator: str = ", ") -> SafeString:
    return format_html_join(separator, "{}", ([item] for item in items))


def bullets(items: Iterable[object], css_class: str = "dsn-list") -> SafeString:
    lines = format_html_join("", "<li>{}</li>", ([item] for item in items))
    return format_html('<ul class="{}">{}</ul>', css_class, lines)


def table(heads: Iterable[object], rows: Iterable[Iterable[object]]) -> SafeString:
    head = format_html_join("", "<th>{}</th>", ([cell] for cell in heads))
    lines = (format_html_join("", "<td>{}</td>", ([cell] for cell in row)) for row in rows)
    body = format_html_join("", "<tr>{}</tr>", ([line] for line in lines))
    return format_html('<table class="dsn-table"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>', head, body)


def bounded(items: list[str], total: int) -> list[str]:
    """``items``, of ``total`` that there are, with a last one that says how many are left out."""
    left = total - len(items)
    return [*items, _("… and %(number)d more") % {"number": left}] if left > 0 else items


def grouped(number: int) -> str:
    return number_format(number, force_grouping=True)


def lasting(time: datetime.timedelta) -> str:
    """``time`` in words: in seconds below two minutes, else as Django's ``timeuntil``."""
    seconds = math.ceil(time.total_seconds())
    if seconds < 120:
        return ngettext("%d second", "%d seconds", seconds) % seconds
    now = timezone.now()
    return timeuntil(now + time, now)


def excerpt(text: str, length: int = 80) -> str:
    """The beginning of ``text``, on one line."""
    return Truncator(" ".join(text.split())).chars(length)


def block(text: str) -> SafeString:
    """The first :data:`MAX_SHOWN` characters, with line breaks, and the number of characters left out."""
    # JSON may hold half of a surrogate pair, which a response cannot encode.
    shown = text[:MAX_SHOWN].encode("utf-8", "backslashreplace").decode()
    left_out = len(text) - MAX_SHOWN
    if left_out <= 0:
        return format_html('<pre class="dsn-block">{}</pre>', shown)
    note = _("… and %(number)d more characters.") % {"number": left_out}
    return format_html('<pre class="dsn-block">{}</pre><p class="help">{}</p>', shown, note)


def link(url: str, text: object) -> SafeString:
    return format_html('<a href="{}">{}</a>', url, text)


def changelist_url(site: AdminSite, model: type[Model], **filters: Any) -> str:
    """The URL of the list of ``model``, or an empty string when it is not in this admin."""
    try:
        url = reverse(f"{site.name}:{model._meta.app_label}_{model._meta.model_name}_changelist")
    except NoReverseMatch:
        return ""
    return f"{url}?{urlencode(filters)}" if filters else url


def change_link(site: AdminSite, row: Model, text: object = "") -> str:
    """A link to the page of ``row``, or its name when its model is not in this admin."""
    text = text or str(row)
    try:
        url = reverse(f"{site.name}:{row._meta.app_label}_{row._meta.model_name}_change", args=[quote(str(row.pk))])
    except NoReverseMatch:
        return str(text)
    return link(url, text)


def receiver(site: AdminSite, delivery: Delivery) -> str:
    if delivery.user_id is not None:
        return reference(site, delivery, "user")
    return delivery.address or _("chosen by the messenger")


def reference(site: AdminSite, row: Model, name: str, length: int = 200) -> str:
    """A link to the object of the key ``name`` of ``row``; "user 5 (deleted)" when it does not exist.

    Events and deliveries may outlive the objects that they refer to. Lists prefetch these, so this runs no query.
    """
    key = getattr(row, f"{name}_id")
    if key is None:
        return NOTHING
    try:
        related = getattr(row, name)
    except ObjectDoesNotExist:
        related = None
    if related is not None:
        return change_link(site, related, excerpt(str(related), length))
    model: Any = row._meta.get_field(name).related_model
    return _("%(kind)s %(key)s (deleted)") % {"kind": model._meta.verbose_name, "key": key}


# Columns of a list and fields of a page: methods of an admin class


def reference_column(name: str, label: Any, length: int = 200, ordering: str | None = None) -> Callable[..., str]:
    """The :func:`reference` by the key ``name``."""

    @display(description=label, ordering=ordering)
    def column(admin: Any, row: Model) -> str:
        return reference(admin.admin_site, row, name, length)

    return column


def value_column(name: str, label: Any, shown: Callable[[Any], str], ordering: str | None = None) -> Callable[..., str]:
    """The value ``name``, as ``shown`` returns it."""

    @display(description=label, ordering=ordering)
    def column(admin: Any, row: Model) -> str:
        value = getattr(row, name)
        return shown(value) if value else NOTHING

    return column
