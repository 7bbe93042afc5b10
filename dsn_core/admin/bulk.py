"""Actions on any number of rows that ask for confirmation. Django's own sends every key to the page and back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import messages
from django.contrib.admin.actions import delete_selected as delete_selected_of_django
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.admin.utils import model_ngettext
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.db.models import BigAutoField, Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dsn_core.admin.display import TONES, badge, grouped
from dsn_core.fanout.receivers import pages_of_keys

if TYPE_CHECKING:
    from dsn_core.admin.base import BaseAdmin, ReadOnlyAdmin

#: The largest key: databases refuse to compare with larger numbers.
MAX_KEY: Final = BigAutoField.MAX_BIGINT
#: Rows per statement.
SIZE: Final = 1_000
#: Query parameters of a list that are no filter.
_NO_FILTER: Final = frozenset({"p", "o", "all", "e", "_facets", "_popup", "_to_field", "_changelist_filters"})
_ACROSS: Final = "select_across"
_UP_TO: Final = "up_to"


class Selection:
    """The chosen rows of an action, the same on the confirmation page and after it: ticked ones, or a filter's.

    Rows found by a filter are not sent as keys, of which Django accepts at most a thousand, but by the filter in the
    URL. Rows that are newer than the confirmation page are left out.
    """

    def __init__(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        #: As Django's action form reads it.
        self.is_by_filter = bool(forms.BooleanField(required=False).to_python(request.POST.get(_ACROSS)))
        keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
        # Django has reduced the rows to the ticked ones.
        self.rows = queryset
        #: The hidden form fields by which the next request finds the same rows.
        self.hidden = [(ACTION_CHECKBOX_NAME, key) for key in keys]
        self._words = _("Selected: %(keys)s.") % {"keys": ", ".join(f"#{key}" for key in keys)}
        if self.is_by_filter:
            up_to = request.POST.get(_UP_TO, "")
            if not (up_to.isascii() and up_to.isdecimal() and int(up_to[:20]) <= MAX_KEY):
                up_to = str(queryset.order_by("-pk").values_list("pk", flat=True).first() or 0)
            self.rows = queryset.filter(pk__lte=up_to)
            self.hidden = [(_ACROSS, "1"), (_UP_TO, up_to), *self.hidden[:1]]
            given = [(name, text) for name, texts in request.GET.lists() for text in texts if name not in _NO_FILTER]
            filtered = ", ".join(f"{name}={text}" for name, text in given)
            self._words = _("Filter: %(filter)s.") % {"filter": filtered} if given else _("All rows: no filter is set.")

    def __str__(self) -> str:
        return self._words

    def log(self, request: HttpRequest, admin: BaseAdmin[Any], flag: int, done: str, more: str = "") -> None:
        # One entry for any number of rows.
        user: Any = request.user
        LogEntry.objects.create(
            user_id=user.pk,
            content_type=ContentType.objects.get_for_model(admin.model, for_concrete_model=False),
            # Shown on the admin's index page.
            object_repr=f"{done} {self}"[:200],
            action_flag=flag,
            change_message=" ".join(filter(None, [done, more, str(self)])),
        )


# Deletion


def delete_action(admin: BaseAdmin[Any]) -> Any:
    """The site's action: a project may have its own, or have removed it."""
    site: Any = admin.admin_site
    return dict(site.actions).get("delete_selected")


def delete_selected(admin: BaseAdmin[Any], request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
    """The confirmation page; None after the confirmed deletion."""
    if (action := delete_action(admin)) is not delete_selected_of_django:
        return action(admin, request, queryset)  # type: ignore[no-any-return]
    selection = Selection(request, queryset)
    names, counts, lacking, _protected = admin.get_deleted_objects(selection.rows, request)
    if "post" in request.POST:
        if lacking:
            raise PermissionDenied
        _delete(admin, request, selection)
        return None
    objects = model_ngettext(selection.rows)
    return admin.render_page(
        request,
        "delete_selected",
        _("Cannot delete %(name)s") % {"name": objects} if lacking else _("Delete multiple objects"),
        objects_name=objects,
        deletable_objects=names,
        model_count=[(name, grouped(number)) for name, number in counts.items()],
        perms_lacking=lacking,
        notes=admin.deletion_notes(request, selection.rows),
        selection=selection,
    )


def _delete(admin: BaseAdmin[Any], request: HttpRequest, selection: Selection) -> None:
    """In pages, with a log entry for each ticked row, or one entry for a whole filter."""
    total, text = selection.rows.count(), _("Successfully deleted %(count)d %(items)s.")
    done = text % {"count": total, "items": model_ngettext(admin.opts, total)}
    if not total:
        return
    if selection.is_by_filter:
        # Before the deletion, as Django does, so that an interrupted one is in the log.
        selection.log(request, admin, DELETION, done)
    for keys in pages_of_keys(selection.rows, SIZE):
        rows = selection.rows.filter(pk__in=keys)
        if not selection.is_by_filter:
            admin.log_deletions(request, rows)
        admin.delete_queryset(request, rows)
    admin.message_user(request, done, messages.SUCCESS)


# Changes by status


@dataclass(frozen=True, kw_only=True)
class BulkAction:
    """A change of rows of the chosen statuses, as an attribute of an admin class that ``actions`` names.

    Its confirmation page shows the effect by status.
    """

    #: Its name and label in ``actions``, the page's title and the button's label.
    name: str
    short_description: Promise
    title: Promise
    button: Promise
    #: The statuses that can be chosen, each with a note, and those that are chosen at first.
    statuses: Mapping[str, str | Promise]
    preset: Collection[str]
    #: The rows that it can change, those that it cannot since their payload was purged, and the change itself.
    able: Callable[[Any], QuerySet[Any]]
    purged: Callable[[Any], QuerySet[Any]] = QuerySet.none
    perform: Callable[[Any], int]
    #: The message after that many rows were changed.
    done: Callable[[int], str]

    allowed_permissions: Collection[str] = ("operate",)

    def __call__(self, admin: ReadOnlyAdmin[Any], request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """The confirmation page; None after the confirmed action."""
        selection = Selection(request, queryset)
        labels: dict[str, str] = dict(admin.opts.get_field("status").flatchoices)  # type: ignore[union-attr]
        chosen = [status for status in self.statuses if status in request.POST.getlist("status")]
        if "post" not in request.POST or not chosen:
            return self._ask(admin, request, selection, labels)
        rows = selection.rows.filter(status__in=chosen)
        purged = self.purged(rows).count()
        with transaction.atomic(using=router.db_for_write(admin.model)):
            number = self.perform(rows)
            done = self.done(number)
            if number:
                names = ", ".join(str(labels[status]) for status in chosen)
                selection.log(request, admin, CHANGE, done, _("Statuses: %(statuses)s.") % {"statuses": names})
        admin.wake_runner()
        text = " ".join(filter(None, [done, _purged_words(purged)]))
        admin.message_user(request, text, messages.SUCCESS if number else messages.WARNING)
        return None

    def _ask(
        self, admin: BaseAdmin[Any], request: HttpRequest, selection: Selection, labels: Mapping[str, str]
    ) -> HttpResponse:
        rows = selection.rows
        totals, able, purged = map(_by_status, (rows, self.able(rows), self.purged(rows)))
        lines = []
        for status, label in labels.items():
            if total := totals.get(status, 0):
                number, refused = able.get(status, 0), purged.get(status, 0)
                notes = [self.statuses[status] if number else "", _purged_words(refused)]
                if rest := total - number - refused:
                    notes.append(ngettext("%s stays as it is.", "%s stay as they are.", rest) % grouped(rest))
                note = " ".join(map(str, filter(None, notes)))
                lines.append((status, badge(label, TONES[status]), grouped(total), grouped(number), number > 0, note))
        count = sum(totals.values())
        is_answer = "post" in request.POST
        return admin.render_page(
            request,
            "confirmation",
            self.title,
            selection=selection,
            selected=capfirst(f"{grouped(count)} {model_ngettext(admin.opts, count)}"),
            lines=lines,
            asked=request.POST.getlist("status") if is_answer else self.preset,
            can=any(able.values()),
            is_unchosen=is_answer,
            action=self.name,
            button=self.button,
        )


def _purged_words(number: int) -> str:
    if not number:
        return ""
    text = ngettext(
        "%s is refused: its payload was purged, and nothing is left to send.",
        "%s are refused: their payload was purged, and nothing is left to send.",
        number,
    )
    return text % grouped(number)


def _by_status(rows: QuerySet[Any]) -> dict[str, int]:
    return dict(rows.order_by().values_list("status").annotate(number=Count("pk")))
