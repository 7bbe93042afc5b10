"""The pages on which a subscription's users and addresses, any number of them, are searched, added and removed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django import forms
from django.contrib import messages
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import router, transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dsn_core.admin.choices import ALIASES
from dsn_core.admin.display import MAX_LISTED, bounded, change_link, excerpt, grouped
from dsn_core.admin.widgets import possible_keys
from dsn_core.models import Subscription, SubscriptionAddress

if TYPE_CHECKING:
    from dsn_core.admin.base import BaseAdmin

#: With more than these, the form shows only the number, and a separate page edits them: Django accepts at most a
#: thousand form fields, and a page with a million users is not usable.
MAX_USERS: Final = 400
MAX_ADDRESSES: Final = 100

#: Rows of one page, and lines that can be added at once.
PER_PAGE: Final = 100
MAX_LINES: Final = 10_000
#: Results of a search for users to add.
MAX_FOUND: Final = MAX_LISTED
#: Refused lines that an error names.
MAX_REFUSED: Final = 10


class LinesWidget(forms.Textarea):
    """The typed lines, and the keys of ticked search results as more of them."""

    def value_from_datadict(self, data: Any, files: Any, name: str) -> str:
        return "\n".join([data.get(name, ""), *(f"#{key}" for key in data.getlist("found"))])


class LinesForm(forms.Form):
    """The receivers to add, one on each line."""

    lines = forms.CharField(widget=LinesWidget(attrs={"rows": 4, "cols": 40, "spellcheck": "false"}))

    def clean_lines(self) -> list[str]:
        """The lines that are not empty, without duplicates."""
        found = list(dict.fromkeys(filter(None, map(str.strip, self.cleaned_data["lines"].splitlines()))))
        if len(found) > MAX_LINES:
            raise ValidationError(
                _("These are %(number)d lines, and %(most)d can be added at once. Add them in parts.")
                % {"number": len(found), "most": MAX_LINES}
            )
        return found


class Members(ABC):
    """One kind of receivers of one subscription, with the permissions of the request's user."""

    #: The subscription's relation, and the last part of the page's URL.
    name: ClassVar[str]
    #: As many as the subscription's own page can hold, and the hidden field of a form that leaves them to this page.
    most: ClassVar[int]
    mark: ClassVar[str]
    plural: ClassVar[Promise]
    search_label: ClassVar[Promise]
    lines_label: Promise
    form_class: type[LinesForm] = LinesForm

    def __init__(self, admin: BaseAdmin[Subscription], request: HttpRequest, subscription: Subscription) -> None:
        self.admin = admin
        self.request = request
        self.subscription = subscription
        self.manager: Any = getattr(subscription, self.name)
        self.rows: QuerySet[Any] = self.manager.order_by("pk")

    @classmethod
    def are_many(cls, subscription: Subscription | None) -> bool:
        """Whether they are more than the subscription's own page can hold."""
        if subscription is None or subscription.pk is None:
            return False
        return bool(getattr(subscription, cls.name).order_by()[: cls.most + 1].count() > cls.most)

    @abstractmethod
    def searched(self, term: str) -> QuerySet[Any]:
        """The receivers that ``term`` finds."""

    @abstractmethod
    def label(self, row: Any) -> str: ...

    @abstractmethod
    def remove(self, keys: Sequence[Any]) -> None: ...

    @abstractmethod
    def add(self, given: Mapping[str, Any]) -> int:
        """Add those of a form's cleaned data, and return their number. Raises ``ValidationError`` and adds none."""

    def candidates(self, term: str) -> list[Any] | None:
        """The search results that could be added; None where there is no search."""
        return None

    def respond(self, *, may_change: bool) -> HttpResponse:
        """The page; a POST adds or removes, and redirects to it."""
        given = self.request.POST if "add" in self.request.POST else None
        form = self.form_class(given, auto_id="dsn_%s", use_required_attribute=False)
        form.fields["lines"].label = str(self.lines_label)
        if self.request.method == "POST":
            if not may_change:
                raise PermissionDenied
            if self._change(form):
                return HttpResponseRedirect(self.request.get_full_path())
        term, find = (self.request.GET.get(name, "").strip() for name in ("q", "find"))
        page = Paginator(self.searched(term) if term else self.rows, PER_PAGE).get_page(self.request.GET.get("p"))
        number = page.paginator.count
        total = self.manager.count() if term else number
        candidates = self.candidates(find) if may_change else None
        subscription = excerpt(str(self.subscription), 80)
        title = _("%(kind)s of %(subscription)s") % {"kind": capfirst(str(self.plural)), "subscription": subscription}
        return self.admin.render_page(
            self.request,
            "members",
            title,
            back=reverse(f"{self.admin.admin_site.name}:dsn_core_subscription_change", args=[self.subscription.pk]),
            kind=self,
            may_change=may_change,
            term=term,
            numbers=_("%(found)s of %(total)s") % {"found": grouped(number), "total": grouped(total)},
            page=page,
            pages=page.paginator.get_elided_page_range(page.number),
            rows=[(row.pk, self.label(row)) for row in page.object_list],
            form=form,
            find=find,
            candidates=None if candidates is None else [(row.pk, self.label(row)) for row in candidates],
            is_cut=candidates is not None and len(candidates) == MAX_FOUND,
            max_found=MAX_FOUND,
        )

    def _change(self, form: LinesForm) -> bool:
        """Add or remove what was posted; False if it was refused, with the errors in the form."""
        removes, there = "remove" in self.request.POST, 0
        if not removes and not form.is_valid():
            return False
        try:
            with transaction.atomic(using=router.db_for_write(Subscription)):
                before = self.manager.count()
                if removes:
                    self.remove(possible_keys(self.rows.model, self.request.POST.getlist("ticked")))
                    number = before - self.manager.count()
                    text = ngettext("%(number)d was removed.", "%(number)d were removed.", number)
                else:
                    added = self.add(form.cleaned_data)
                    number = self.manager.count() - before
                    there = max(added - number, 0)
                    text = ngettext("%(number)d was added.", "%(number)d were added.", number)
        except ValidationError as error:
            form.add_error("lines", error)
            return False
        text %= {"number": number}
        if there:
            again = ngettext("%(number)d was there already.", "%(number)d were there already.", there)
            text = f"{text} {again % {'number': there}}"
        if number:
            self.admin.log_change(self.request, self.subscription, f"{capfirst(str(self.plural))}: {text}")
        self.admin.message_user(self.request, text, messages.SUCCESS if number else messages.WARNING)
        return True


class Users(Members):
    name = "users"
    most = MAX_USERS
    mark = "users_elsewhere"
    plural = gettext_lazy("users")
    search_label = gettext_lazy("Search these users")

    def __init__(self, admin: BaseAdmin[Subscription], request: HttpRequest, subscription: Subscription) -> None:
        super().__init__(admin, request, subscription)
        self.theirs = admin.admin_of(get_user_model())
        # Without permission to see users, they are shown by their keys.
        self.may_see = self.theirs is not None and self.theirs.has_view_permission(request)
        self.may_search = admin.can_search(request, "users")
        self.lines_label = (
            gettext_lazy("User names, one on each line; #5 is the user with the key 5")
            if self.may_see
            else gettext_lazy("Keys of users, one on each line")
        )

    def searched(self, term: str) -> QuerySet[Any]:
        if self.may_search:
            return self._search(self.rows, term)
        return self.rows.filter(pk__in=possible_keys(self.rows.model, [term.removeprefix("#")]))

    def candidates(self, term: str) -> list[Any] | None:
        if not self.may_search:
            return None
        outside = self.theirs.get_queryset(self.request).exclude(pk__in=self.rows.order_by().values("pk"))
        return list(self._search(outside, term)[:MAX_FOUND]) if term else []

    def label(self, row: Any) -> str:
        return change_link(self.admin.admin_site, row) if self.may_see else f"#{row.pk}"

    def remove(self, keys: Sequence[Any]) -> None:
        self.manager.remove(*keys)

    def add(self, given: Mapping[str, Any]) -> int:
        found = self._find(given["lines"])
        _refuse([line for line in given["lines"] if line not in found], _("These users do not exist: %(lines)s"))
        keys = set(found.values())
        self.manager.add(*keys)
        return len(keys)

    def _find(self, lines: Sequence[str]) -> dict[str, Any]:
        """The keys of the users that exist, by their line."""
        model: Any = get_user_model()
        users, found = model._default_manager, {}
        if self.may_see:
            rows = users.filter(**{f"{model.USERNAME_FIELD}__in": lines}).values_list(model.USERNAME_FIELD, "pk")
            # MariaDB also finds names that differ in case.
            folded = {str(name).casefold(): key for name, key in rows}
            exact = {str(name): key for name, key in rows}
            names = ((line, exact.get(line, folded.get(line.casefold()))) for line in lines)
            found = {line: key for line, key in names if key is not None}
        by_key = {line.removeprefix("#"): line for line in lines if line.startswith("#") or not self.may_see}
        keys = users.filter(pk__in=possible_keys(model, by_key)).values_list("pk", flat=True)
        return found | {by_key[str(key)]: key for key in keys if str(key) in by_key}

    def _search(self, users: QuerySet[Any], term: str) -> QuerySet[Any]:
        found, may_have_duplicates = self.theirs.get_search_results(self.request, users, term)
        return found.distinct() if may_have_duplicates else found  # type: ignore[no-any-return]


class AddressesForm(LinesForm):
    messenger = forms.ChoiceField(choices=ALIASES.choices, label=gettext_lazy("messenger"))

    field_order = ["messenger", "lines"]


class Addresses(Members):
    name = "addresses"
    most = MAX_ADDRESSES
    mark = "addresses_elsewhere"
    plural = gettext_lazy("bare addresses")
    search_label = gettext_lazy("Search these addresses")
    lines_label = gettext_lazy("Addresses, one on each line")
    form_class = AddressesForm

    def searched(self, term: str) -> QuerySet[Any]:
        return self.rows.filter(address__icontains=term)

    def label(self, row: Any) -> str:
        return str(row)

    def remove(self, keys: Sequence[Any]) -> None:
        self.rows.filter(pk__in=keys).delete()

    def add(self, given: Mapping[str, Any]) -> int:
        owner = {"subscription": self.subscription, "messenger": given["messenger"]}
        Subscription.check_addresses(list(self.subscription.backends.all()), [given["messenger"]])
        # For MariaDB two addresses that differ only in case are equal.
        lines = list({line.casefold(): line for line in given["lines"]}.values())
        longest: Any = SubscriptionAddress._meta.get_field("address").max_length
        too_long = [line for line in lines if len(line) > longest]
        _refuse(too_long, _("An address has at most %(longest)d characters: %(lines)s"), longest=longest)
        made = (SubscriptionAddress(**owner, address=line) for line in lines)
        SubscriptionAddress.objects.bulk_create(made, batch_size=1_000, ignore_conflicts=True)
        return len(lines)


KINDS: Final[tuple[type[Members], ...]] = (Users, Addresses)


def _refuse(lines: Sequence[str], text: str, **more: Any) -> None:
    if lines:
        named = bounded([line[:60] for line in lines[:MAX_REFUSED]], len(lines))
        raise ValidationError(text % {"lines": ", ".join(named), **more})
