"""Actions on many rows with a confirmation page, which shows the effect by status."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.contrib import messages
from django.contrib.admin.models import CHANGE
from django.db import router, transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import number_format
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dsn_core.admin.display import TONES, badge
from dsn_core.admin.generic import ModelAdmin
from dsn_core.admin.selection import Selection


@dataclass(frozen=True, kw_only=True)
class BulkAction:
    """An action on many rows that asks for confirmation."""

    #: Its name, as in ``actions``, the page's title and the button's label.
    name: str
    title: Promise
    button: Promise
    #: The statuses that can be chosen, each with a note, and those that are chosen at first.
    statuses: Mapping[str, str | Promise]
    preset: Collection[str]
    #: The rows that it can change, those that it cannot since their payload was purged, and the change itself.
    able: Callable[[Any], QuerySet[Any]]
    purged: Callable[[Any], QuerySet[Any]] | None = None
    perform: Callable[[Any], int]
    #: The message after that many rows were changed.
    done: Callable[[int], str]

    def run(self, admin: ModelAdmin[Any], request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """The confirmation page; None after the confirmed action."""
        selection = Selection.of(request, queryset)
        chosen = [status for status in self.statuses if status in request.POST.getlist("status")]
        is_answer = "post" in request.POST
        if not is_answer or not chosen:
            return self._ask(admin, request, selection, is_unchosen=is_answer)
        rows = selection.rows.filter(status__in=chosen)
        purged = self._count_purged(rows)
        with transaction.atomic(using=router.db_for_write(admin.model)):
            number = self.perform(rows)
            done = self.done(number)
            if number:
                selection.log(request, admin.model, CHANGE, done, _labels(admin, chosen))
        text = " ".join([done, *self._purged_words(purged)])
        admin.message_user(request, text, messages.SUCCESS if number else messages.WARNING)
        return None

    def _ask(
        self, admin: ModelAdmin[Any], request: HttpRequest, selection: Selection, *, is_unchosen: bool
    ) -> HttpResponse:
        lines = list(self._lines(admin, selection.rows))
        asked = request.POST.getlist("status") if "post" in request.POST else self.preset
        context = {
            **admin.admin_site.each_context(request),
            "title": self.title,
            "original": self.title,
            "subtitle": None,
            "opts": admin.opts,
            "has_view_permission": True,
            "media": admin.media,
            "selection": selection,
            "selected": capfirst(_count_words(admin, sum(line.total for line in lines))),
            "lines": lines,
            "asked": asked,
            "can": any(line.number for line in lines),
            "is_unchosen": is_unchosen,
            "action": self.name,
            "button": self.button,
            "back": request.get_full_path(),
        }
        request.current_app = admin.admin_site.name
        return TemplateResponse(request, "dsn_core/admin/confirmation.html", context)

    def _lines(self, admin: ModelAdmin[Any], rows: QuerySet[Any]) -> Iterator[Line]:
        """One line for each status of the rows."""
        totals, able = _by_status(rows), _by_status(self.able(rows))
        purged = _by_status(self.purged(rows)) if self.purged else {}
        for status, label in admin.opts.get_field("status").choices:  # type: ignore[union-attr]
            if total := totals.get(status, 0):
                number = able.get(status, 0)
                notes = [self.statuses[status]] if number else []
                if left := total - number:
                    notes += self._purged_words(purged.get(status, 0))
                    if rest := left - purged.get(status, 0):
                        notes.append(ngettext("%s stays as it is.", "%s stay as they are.", rest) % _grouped(rest))
                note = " ".join(map(str, filter(None, notes)))
                yield Line(status, badge(label, TONES[status]), total, number, _grouped(total), _grouped(number), note)

    def _count_purged(self, rows: QuerySet[Any]) -> int:
        return self.purged(rows).count() if self.purged else 0

    @staticmethod
    def _purged_words(number: int) -> list[str]:
        if not number:
            return []
        text = ngettext(
            "%s is refused: its payload was purged, and nothing is left to send.",
            "%s are refused: their payload was purged, and nothing is left to send.",
            number,
        )
        return [text % _grouped(number)]


class Line(NamedTuple):
    """One status, with the number of its rows and of those that the action can change."""

    status: str
    badge: SafeString
    total: int
    number: int
    total_shown: str
    number_shown: str
    note: str


def _by_status(rows: QuerySet[Any]) -> dict[str, int]:
    return dict(rows.order_by().values_list("status").annotate(number=Count("pk")))


def _labels(admin: ModelAdmin[Any], statuses: Collection[str]) -> str:
    labels = dict(admin.opts.get_field("status").choices)  # type: ignore[union-attr, arg-type]
    return _("Statuses: %(statuses)s.") % {"statuses": ", ".join(str(labels[status]) for status in statuses)}


def _count_words(admin: ModelAdmin[Any], number: int) -> str:
    name = admin.opts.verbose_name if number == 1 else admin.opts.verbose_name_plural
    return f"{_grouped(number)} {name}"


def _grouped(number: int) -> str:
    return number_format(number, force_grouping=True)
