"""Values as HTML for lists and pages. All functions escape their arguments."""

from __future__ import annotations

import datetime
import math
from typing import Any, Final

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
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

#: The badge's look, by status; ``static/dsn_core/admin.css`` draws them.
TONES: Final[dict[str, str]] = {
    Delivery.Status.PENDING: "busy",
    Delivery.Status.SENDING: "busy",
    Delivery.Status.SENT: "good",
    Delivery.Status.RETRY: "warning",
    Delivery.Status.FAILED: "bad",
    Delivery.Status.SKIPPED: "quiet",
    Delivery.Status.UNKNOWN: "doubt",
    Delivery.Status.CANCELLED: "quiet",
    Event.Status.EXPANDING: "busy",
    Event.Status.EXPANDED: "good",
    Delivery.Report.DELIVERED: "good",
    Delivery.Report.UNDELIVERED: "bad",
}


def badge(text: object, tone: str) -> SafeString:
    """``text`` on a colour: good, busy, warning, bad, doubt or quiet."""
    return format_html('<span class="dsn-badge dsn-badge-{}">{}</span>', tone, text)


def status_badge(row: Delivery | Event) -> SafeString:
    """The status of an event or a delivery."""
    return badge(row.get_status_display(), TONES.get(row.status, "quiet"))


def report_badge(delivery: Delivery) -> SafeString:
    """What the provider reported later; empty when it did not."""
    if not delivery.report:
        return SafeString()
    return badge(delivery.get_report_display(), TONES.get(delivery.report, "quiet"))


def delivery_badges(delivery: Delivery) -> SafeString:
    """The status of a delivery, and the report beside it."""
    return format_html_join(" ", "{}", ([item] for item in (status_badge(delivery), report_badge(delivery)) if item))


def lasting(time: datetime.timedelta) -> str:
    """``time`` in words: in seconds below two minutes, else as Django's ``timeuntil``."""
    seconds = math.ceil(time.total_seconds())
    if seconds < 120:
        return ngettext("%d second", "%d seconds", seconds) % seconds
    now = timezone.now()
    return timeuntil(now + time, now)


def installed_name(name: str, *, installed: bool) -> str:
    """A stored name, marked when nothing installed has it."""
    if installed or not name:
        return name
    return format_html("{} {}", name, badge(_("not installed"), "bad"))


def excerpt(text: str, length: int = 80) -> str:
    """The beginning of ``text``, on one line."""
    return Truncator(" ".join(text.split())).chars(length)


def block(text: str, limit: int) -> SafeString:
    """At most ``limit`` characters of ``text``, with its line breaks and the number of characters left out."""
    # JSON may hold half of a surrogate pair, which a response cannot encode.
    shown = text[:limit].encode("utf-8", "backslashreplace").decode()
    left_out = len(text) - limit
    if left_out <= 0:
        return format_html('<pre class="dsn-block">{}</pre>', shown)
    note = _("… and %(number)d more characters.") % {"number": left_out}
    return format_html('<pre class="dsn-block">{}</pre><p class="help">{}</p>', shown, note)


def link(url: str, text: object) -> SafeString:
    """A link."""
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
    """The receiver of a delivery: the user, or the bare address."""
    if delivery.user_id is not None:
        return reference(site, delivery, "user")
    return delivery.address or _("chosen by the messenger")


def reference(site: AdminSite, row: Model, name: str, length: int = 200) -> str:
    """A link to the object of the key ``name`` of ``row``; "user 5 (deleted)" when it does not exist.

    Events and deliveries may outlive the objects that they refer to. Lists prefetch these, so this runs no query.
    """
    field = row._meta.get_field(name)
    key = getattr(row, f"{name}_id")
    if key is None:
        return NOTHING
    try:
        related = getattr(row, name)
    except ObjectDoesNotExist:
        related = None
    if related is not None:
        return change_link(site, related, excerpt(str(related), length))
    model: Any = field.related_model
    return _("%(kind)s %(key)s (deleted)") % {"kind": model._meta.verbose_name, "key": key}
