"""Search, addition and removal of a subscription's users and addresses, of which there may be any number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

from django import forms
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import router, transaction
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dsn_core.admin import choices
from dsn_core.admin.display import change_link
from dsn_core.admin.generic import ModelAdmin
from dsn_core.admin.widgets import possible_keys
from dsn_core.models import Subscription, SubscriptionAddress

#: Lines that can be added at once, and rows per statement.
MAX_LINES: Final = 10_000
SIZE: Final = 1_000
#: Results of a search for users to add.
MAX_FOUND: Final = 25
#: Refused lines that an error names.
MAX_REFUSED: Final = 10


class LinesForm(forms.Form):
    """The receivers to add, one on each line."""

    lines = forms.CharField(widget=forms.Textarea(attrs={"rows": 4, "cols": 40, "spellcheck": "false"}))

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

    #: The last part of the page's URL, and its labels.
    name: ClassVar[str]
    plural: ClassVar[Promise]
    search_label: ClassVar[Promise]
    lines_label: Promise
    form_class: type[LinesForm] = LinesForm

    def __init__(self, admin: ModelAdmin[Subscription], request: HttpRequest, subscription: Subscription) -> None:
        self.admin = admin
        self.request = request
        self.subscription = subscription

    @abstractmethod
    def rows(self) -> QuerySet[Any]:
        """All receivers, in a fixed order."""

    @abstractmethod
    def searched(self, term: str) -> QuerySet[Any]:
        """The receivers that ``term`` finds."""

    @abstractmethod
    def label(self, row: Any) -> str:
        """The label of a receiver."""

    @abstractmethod
    def take_out(self, keys: Sequence[Any]) -> None:
        """Remove the receivers with these keys."""

    @abstractmethod
    def put_in(self, form: Any) -> int:
        """Add the receivers of a valid form, and return their number. Raises ``ValidationError`` and adds none."""

    def candidates(self, term: str) -> list[Any] | None:
        """The search results that could be added; None where there is no search."""
        return None

    def add_keys(self, keys: Sequence[str]) -> int:
        """Add the receivers with these keys from :meth:`candidates`, and return their number."""
        return 0

    def remove(self, keys: Sequence[str]) -> int:
        """Remove the receivers with these keys, and return how many were removed."""
        with self._atomic():
            before = self.rows().count()
            self.take_out(possible_keys(self.rows().model, keys))
            return before - self.rows().count()

    def add(self, form: LinesForm | None, keys: Sequence[str]) -> tuple[int, int]:
        """Add the receivers of the form and the ticked ones; return how many are new, and how many were there."""
        with self._atomic():
            before = self.rows().count()
            given = self.add_keys(possible_keys(self.rows().model, keys)) if keys else 0
            given += self.put_in(form) if form else 0
            number = self.rows().count() - before
            return number, max(given - number, 0)

    @staticmethod
    def _atomic() -> Any:
        return transaction.atomic(using=router.db_for_write(Subscription))


class Users(Members):
    name = "users"
    plural = gettext_lazy("users")
    search_label = gettext_lazy("Search these users")

    def __init__(self, admin: Any, request: HttpRequest, subscription: Subscription) -> None:
        super().__init__(admin, request, subscription)
        site = admin.admin_site
        user_model = get_user_model()
        self.theirs: Any = site.get_model_admin(user_model) if site.is_registered(user_model) else None
        # Without permission to see users, they are shown by their keys.
        self.may_see = self.theirs is not None and self.theirs.has_view_permission(request)
        self.may_search = admin.can_search(request, "users")
        self.lines_label = (
            gettext_lazy("User names, one on each line; #5 is the user with the key 5")
            if self.may_see
            else gettext_lazy("Keys of users, one on each line")
        )

    def rows(self) -> QuerySet[Any]:
        return self.subscription.users.order_by("pk")

    def searched(self, term: str) -> QuerySet[Any]:
        if self.may_search:
            return self._search(self.rows(), term)
        return self.rows().filter(pk__in=possible_keys(self.rows().model, [term.removeprefix("#")]))

    def candidates(self, term: str) -> list[Any] | None:
        if not self.may_search:
            return None
        outside = self.theirs.get_queryset(self.request).exclude(pk__in=self.rows().order_by().values("pk"))
        return list(self._search(outside, term)[:MAX_FOUND]) if term else []

    def label(self, row: Any) -> str:
        if self.may_see:
            return change_link(self.admin.admin_site, row)
        return f"#{row.pk}"

    def take_out(self, keys: Sequence[Any]) -> None:
        self.subscription.users.remove(*keys)

    def add_keys(self, keys: Sequence[str]) -> int:
        found = list(self.rows().model._default_manager.filter(pk__in=keys).values_list("pk", flat=True))
        self.subscription.users.add(*found)
        return len(found)

    def put_in(self, form: LinesForm) -> int:
        lines: list[str] = form.cleaned_data["lines"]
        found: dict[str, Any] = {}
        for some in _parts(lines):
            found |= self._find(some)
        _refuse([line for line in lines if line not in found], _("These users do not exist: %(lines)s"))
        keys = list(dict.fromkeys(found.values()))
        for some in _parts(keys):
            self.subscription.users.add(*some)
        return len(keys)

    def _find(self, lines: Sequence[str]) -> dict[str, Any]:
        """The keys of the users that exist, by their line."""
        model: Any = get_user_model()
        users = model._default_manager
        named = {line.removeprefix("#"): line for line in lines if line.startswith("#") or not self.may_see}
        keys = users.filter(pk__in=possible_keys(model, named)).values_list("pk", flat=True)
        found = {named[str(key)]: key for key in keys if str(key) in named}
        if self.may_see:
            field = model.USERNAME_FIELD
            rows = users.filter(**{f"{field}__in": lines}).values_list(field, "pk")
            # MariaDB also finds names that differ in case.
            folded = {str(name).casefold(): key for name, key in rows}
            exact = {str(name): key for name, key in rows}
            names = ((line, exact.get(line, folded.get(line.casefold()))) for line in lines)
            found |= {line: key for line, key in names if key is not None}
        return found

    def _search(self, users: QuerySet[Any], term: str) -> QuerySet[Any]:
        found, may_have_duplicates = self.theirs.get_search_results(self.request, users, term)
        return found.distinct() if may_have_duplicates else found  # type: ignore[no-any-return]


class AddressesForm(LinesForm):
    messenger = forms.ChoiceField(choices=choices.messengers, label=gettext_lazy("messenger"))

    field_order = ["messenger", "lines"]


class Addresses(Members):
    name = "addresses"
    plural = gettext_lazy("bare addresses")
    search_label = gettext_lazy("Search these addresses")
    lines_label = gettext_lazy("Addresses, one on each line")
    form_class = AddressesForm

    def rows(self) -> QuerySet[Any]:
        return self.subscription.addresses.order_by("pk")

    def searched(self, term: str) -> QuerySet[Any]:
        return self.rows().filter(address__icontains=term)

    def label(self, row: Any) -> str:
        return str(row)

    def take_out(self, keys: Sequence[Any]) -> None:
        self.subscription.addresses.filter(pk__in=keys).delete()

    def put_in(self, form: AddressesForm) -> int:
        messenger: str = form.cleaned_data["messenger"]
        Subscription.check_addresses(list(self.subscription.backends.all()), [messenger])
        # For MariaDB two addresses that differ only in case are equal.
        lines = list({line.casefold(): line for line in form.cleaned_data["lines"]}.values())
        longest: Any = SubscriptionAddress._meta.get_field("address").max_length
        _refuse(
            [line for line in lines if len(line) > longest],
            _("An address has at most %(longest)d characters: %(lines)s"),
            longest=longest,
        )
        for some in _parts(lines):
            SubscriptionAddress.objects.bulk_create(
                [
                    SubscriptionAddress(subscription=self.subscription, messenger=messenger, address=line)
                    for line in some
                ],
                ignore_conflicts=True,
            )
        return len(lines)


KINDS: Final[tuple[type[Members], ...]] = (Users, Addresses)


def _parts(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(rows), SIZE):
        yield rows[begin : begin + SIZE]


def _refuse(lines: Sequence[str], text: str, **more: Any) -> None:
    if lines:
        named = ", ".join(line[:60] for line in lines[:MAX_REFUSED])
        if len(lines) > MAX_REFUSED:
            named = f"{named}, {_('… and %(number)d more') % {'number': len(lines) - MAX_REFUSED}}"
        raise ValidationError(text % {"lines": named, **more})
