"""The action that deletes any number of rows: Django's own sends every key to the page and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from django.contrib import messages
from django.contrib.admin.actions import delete_selected as delete_selected_of_django
from django.contrib.admin.models import DELETION
from django.contrib.admin.utils import model_ngettext
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from dsn_core.admin.selection import Selection

if TYPE_CHECKING:
    from dsn_core.admin.base import BaseAdmin

#: Rows per statement.
SIZE: Final = 1_000


def is_offered(admin: BaseAdmin[Any]) -> bool:
    """Whether the site has the action: a project may have removed it."""
    return _action_of_site(admin) is not None


def _action_of_site(admin: BaseAdmin[Any]) -> Any:
    site: Any = admin.admin_site
    return dict(site.actions).get("delete_selected")


def delete_selected(admin: BaseAdmin[Any], request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
    """The confirmation page; None after the confirmed deletion."""
    action = _action_of_site(admin)
    if action is not delete_selected_of_django:
        # The project has its own action.
        return action(admin, request, queryset)  # type: ignore[no-any-return]
    selection = Selection.of(request, queryset)
    names, counts, lacking, protected = admin.get_deleted_objects(selection.rows, request)
    if "post" in request.POST and not protected:
        if lacking:
            raise PermissionDenied
        _delete(admin, request, selection)
        return None
    objects = model_ngettext(selection.rows)
    title = _("Cannot delete %(name)s") % {"name": objects} if lacking or protected else _("Delete multiple objects")
    context = {
        **admin.admin_site.each_context(request),
        "title": title,
        "original": title,
        "subtitle": None,
        "objects_name": objects,
        "deletable_objects": names,
        "model_count": [(name, number_format(number, force_grouping=True)) for name, number in counts.items()],
        "perms_lacking": lacking,
        "protected": protected,
        "notes": admin.deletion_notes(request, selection.rows),
        "selection": selection,
        "opts": admin.opts,
        "has_view_permission": True,
        "media": admin.media,
        "back": request.get_full_path(),
    }
    request.current_app = admin.admin_site.name
    return TemplateResponse(request, "dsn_core/admin/delete_selected.html", context)


def _delete(admin: BaseAdmin[Any], request: HttpRequest, selection: Selection) -> None:
    """Delete the rows in pages, with a log entry for each ticked row, or one entry for a whole filter."""
    if selection.is_by_filter and (found := selection.rows.count()):
        # Before the deletion, as Django does, so that an interrupted one is in the log.
        selection.log(request, admin.model, DELETION, _done(admin, found))
    number = 0
    for keys in _pages(selection.rows):
        rows = selection.rows.filter(pk__in=keys)
        if not selection.is_by_filter:
            admin.log_deletions(request, rows)
        admin.delete_queryset(request, rows)
        number += len(keys)
    if number:
        admin.message_user(request, _done(admin, number), messages.SUCCESS)


def _done(admin: BaseAdmin[Any], number: int) -> str:
    text = _("Successfully deleted %(count)d %(items)s.")
    return text % {"count": number, "items": model_ngettext(admin.opts, number)}


def _pages(rows: QuerySet[Any]) -> Iterator[list[Any]]:
    """The keys of ``rows``, page by page. The rows of a page are deleted before the next."""
    rest = rows
    while keys := list(rest.order_by("pk").values_list("pk", flat=True)[:SIZE]):
        yield keys
        rest = rows.filter(pk__gt=keys[-1])
