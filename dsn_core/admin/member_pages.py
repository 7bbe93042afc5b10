"""The pages on which the receivers of a subscription are searched, added and removed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Page, Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.formats import number_format
from django.utils.http import urlencode
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dsn_core.admin.display import excerpt
from dsn_core.admin.generic import ModelAdmin
from dsn_core.admin.members import MAX_FOUND, LinesForm, Members
from dsn_core.models import Subscription

#: Rows of one page.
PER_PAGE: Final = 100
_TICKED: Final = "ticked"
_FOUND: Final = "found"


def address(admin: ModelAdmin[Subscription], kind: type[Members], subscription: Subscription) -> str:
    """The URL of the page."""
    return reverse(f"{admin.admin_site.name}:dsn_core_subscription_{kind.name}", args=[subscription.pk])


def show(admin: ModelAdmin[Subscription], request: HttpRequest, key: str, kind: type[Members]) -> HttpResponse:
    """One page; a POST adds or removes, and redirects to it."""
    subscription = admin.get_object(request, key)
    may_change = admin.has_change_permission(request, subscription)
    if not (may_change or admin.has_view_permission(request, subscription)):
        raise PermissionDenied
    if subscription is None:
        raise Http404
    members = kind(admin, request, subscription)
    given = request.POST if "add" in request.POST else None
    form = kind.form_class(given, auto_id="dsn_%s", use_required_attribute=False)
    form.fields["lines"].label = str(members.lines_label)
    if request.method == "POST":
        if not may_change:
            raise PermissionDenied
        if _change(members, form):
            return HttpResponseRedirect(request.get_full_path())
    return TemplateResponse(request, "dsn_core/admin/members.html", _context(members, form, may_change=may_change))


def _change(members: Members, form: LinesForm) -> bool:
    """Add or remove what was posted; False if it was refused, with the errors in the form."""
    posted = members.request.POST
    if "remove" in posted:
        number = members.remove(posted.getlist(_TICKED))
        text = ngettext("%(number)d was removed.", "%(number)d were removed.", number) % {"number": number}
        _said(members, text, number)
        return True
    ticked = posted.getlist(_FOUND)
    # The lines may be empty when search results were ticked.
    is_ticked_only = bool(ticked) and not posted.get("lines", "").strip()
    if not is_ticked_only and not form.is_valid():
        return False
    try:
        number, there = members.add(None if is_ticked_only else form, ticked)
    except ValidationError as error:
        form.add_error("lines", error)
        return False
    text = ngettext("%(number)d was added.", "%(number)d were added.", number) % {"number": number}
    if there:
        again = ngettext("%(number)d was there already.", "%(number)d were there already.", there)
        text = f"{text} {again % {'number': there}}"
    _said(members, text, number)
    return True


def _said(members: Members, text: str, number: int) -> None:
    """Show the text, and log it for the subscription if anything changed."""
    if number:
        members.admin.log_change(members.request, members.subscription, f"{capfirst(str(members.plural))}: {text}")
    members.admin.message_user(members.request, text, messages.SUCCESS if number else messages.WARNING)


def _context(members: Members, form: LinesForm, *, may_change: bool) -> dict[str, Any]:
    request, admin, subscription = members.request, members.admin, members.subscription
    term, find = request.GET.get("q", "").strip(), request.GET.get("find", "").strip()
    rows = members.searched(term) if term else members.rows()
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("p"))
    total = members.rows().count() if term else page.paginator.count
    candidates = members.candidates(find) if may_change else None
    title = _("%(kind)s of %(subscription)s") % {
        "kind": capfirst(str(members.plural)),
        "subscription": excerpt(str(subscription), 80),
    }
    request.current_app = admin.admin_site.name
    return {
        **admin.admin_site.each_context(request),
        "title": title,
        "original": title,
        "subtitle": None,
        "opts": admin.opts,
        "has_view_permission": True,
        "media": admin.media,
        "back": reverse(f"{admin.admin_site.name}:dsn_core_subscription_change", args=[subscription.pk]),
        "kind": members,
        "may_change": may_change,
        "term": term,
        "here": request.path,
        "numbers": _("%(found)s of %(total)s") % {"found": _grouped(page.paginator.count), "total": _grouped(total)},
        "rows": [(row.pk, members.label(row)) for row in page.object_list],
        "pages": list(_pages(page, term)),
        "form": form,
        "find": find,
        "candidates": None if candidates is None else [(row.pk, members.label(row)) for row in candidates],
        "is_cut": candidates is not None and len(candidates) == MAX_FOUND,
        "max_found": MAX_FOUND,
    }


def _pages(page: Page[Any], term: str) -> Iterator[tuple[str, str]]:
    """Label and URL of each page; the URL is empty for this page and for a gap."""
    if page.paginator.num_pages == 1:
        return
    for number in page.paginator.get_elided_page_range(page.number):
        if isinstance(number, int) and number != page.number:
            yield str(number), "?" + urlencode([*([("q", term)] if term else []), ("p", number)])
        else:
            yield str(number), ""


def _grouped(number: int) -> str:
    return number_format(number, force_grouping=True)
