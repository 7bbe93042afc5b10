"""The forms. They refuse what the models refuse, and show each error at its field."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, TypeVar

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import Model
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dsn_core.admin.choices import ALIASES, MODELS, RESOLVERS, TEMPLATES, VERBS, Names
from dsn_core.admin.conditions import ConditionsField, paths, read, shown
from dsn_core.admin.display import table
from dsn_core.admin.generic import BaseInlineFormSet, ModelForm
from dsn_core.admin.members import Addresses
from dsn_core.models import Backend, Subscription, SubscriptionAddress, Trigger
from dsn_core.models.trigger_queryset import IDENTITY
from dsn_core.plugins.catalogue import catalogue

ModelT = TypeVar("ModelT", bound=Model)


class ConfigurationForm(ModelForm[ModelT]):
    """A form with names that are chosen from what is installed.

    A stored name whose plugin is not installed can still be chosen, and is not refused while the field is unchanged:
    such a row can be renamed, switched off and so on, and works again when the plugin is installed.
    """

    #: The fields that hold names.
    names: ClassVar[Mapping[str, Names]] = {}
    #: For a field: the other fields that must be unchanged for its errors to be ignored.
    goes_with: ClassVar[Mapping[str, Collection[str]]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, names in self.names.items():
            if (field := self.fields.get(name)) is not None:
                field.widget = forms.Select(choices=names.offer(getattr(self.instance, name)))
                field.widget.is_required = field.required

    def add_error(self, field: str | None, error: Any) -> None:
        """Add an error, also one of the model about a field that this form does not have."""
        if field is not None or not hasattr(error, "error_dict"):
            super().add_error(field, error)
            return
        for name, found in error.error_dict.items():
            # A refused field is empty in the model, so the model's error about it would mislead.
            if name in self.errors or self.lets_pass(name):
                continue
            super().add_error(name if name in self.fields else None, found)

    def lets_pass(self, name: str) -> bool:
        """Whether to ignore errors of the field ``name``, since it is stored like this and unchanged."""
        if self.instance.pk is None or name not in self.goes_with:
            return False
        return not {name, *self.goes_with[name]} & set(self.changed_data)


class TriggerForm(ConfigurationForm[Trigger]):
    conditions = ConditionsField(label=gettext_lazy("Conditions"), required=False)

    names = {"verb": VERBS, "action_object_model": MODELS, "actor_object_model": MODELS}

    class Meta:
        model = Trigger
        fields = [*IDENTITY, "enabled"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "verb" in self.fields:
            verb = self.fields["verb"]
            verb.help_text = format_html("{} {}", verb.help_text, _verbs_explained())
        if "conditions" in self.fields:
            roots = self.instance.roots
            self.initial["conditions"] = shown(self.instance.conditions, roots)
            self.fields["conditions"].help_text = _conditions_explained()
            self._widget.paths = paths(roots)

    @property
    def _widget(self) -> Any:
        return self.fields["conditions"].widget

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        rows = cleaned.get("conditions")
        if "conditions" not in self.fields:
            return cleaned
        if rows is None or self.lets_pass("conditions"):
            # Not on the page, or unchanged: they stay as stored, even if they would be refused now.
            return cleaned | {"conditions": self.instance.conditions}
        parts = ("verb", "action_object_model", "actor_object_model")
        roots = Trigger(**{name: cleaned.get(name, "") for name in parts}).roots
        found, refused = read(rows, self.instance.conditions, self.initial["conditions"], roots)
        self._widget.paths, self._widget.refused = paths(roots), refused
        if refused:
            self.add_error("conditions", _("The marked rows are not valid."))
            return cleaned
        return cleaned | {"conditions": found}

    def lets_pass(self, name: str) -> bool:
        # The trigger is only switched on or off.
        return self.instance.pk is not None and set(self.changed_data) <= {"enabled"}


class BackendForm(ConfigurationForm[Backend]):
    names = {"messenger": ALIASES, "message_template": TEMPLATES}
    goes_with = {"messenger": (), "message_template": ()}

    class Meta:
        model = Backend
        fields = ["messenger", "message_template"]


class SubscriptionForm(ConfigurationForm[Subscription]):
    names = {"resolver": RESOLVERS}
    goes_with = {"resolver": ("trigger", "argument"), "argument": ("trigger", "resolver")}

    class Meta:
        model = Subscription
        fields = ["trigger", "name", "enabled", "backends", "users", "groups", "resolver", "argument"]
        fields += ["priority", "expires"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        trigger, backends = cleaned.get("trigger"), cleaned.get("backends")
        if trigger is None or backends is None:
            return cleaned
        chosen = list(backends)
        # For the formset of the addresses, which is cleaned after this form and has only the subscription.
        vars(self.instance)["chosen_backends"] = chosen
        if {"trigger", "backends"} & set(self.changed_data):
            # The stored subscription still has the trigger and the backends from before.
            wanted = Subscription(trigger=trigger)
            for backend in chosen:
                self._check(wanted.check_backends, [backend])
            if Addresses.mark in self.data or Addresses.are_many(self.instance):
                # They are not on the page, so no other check covers them.
                messengers = self.instance.addresses.order_by().values_list("messenger", flat=True).distinct()
                self._check(Subscription.check_addresses, chosen, messengers)
        return self.cleaned_data

    def _check(self, check: Callable[..., None], *args: Any) -> None:
        try:
            check(*args)
        except ValidationError as error:
            self.add_error("backends", error)


class AddressForm(ConfigurationForm[SubscriptionAddress]):
    names = {"messenger": ALIASES}
    goes_with = {"messenger": ()}

    class Meta:
        model = SubscriptionAddress
        fields = ["messenger", "address"]


class AddressFormSet(BaseInlineFormSet[SubscriptionAddress, Subscription, AddressForm]):
    def clean(self) -> None:
        super().clean()
        backends: list[Backend] | None = vars(self.instance).get("chosen_backends")
        seen: set[tuple[str, str]] = set()
        for form in self.forms:
            if form in self.deleted_forms or not {"messenger", "address"} <= set(form.cleaned_data):
                continue
            messenger, address = form.cleaned_data["messenger"], form.cleaned_data["address"]
            # For MariaDB two addresses that differ only in case are equal.
            if (key := (messenger, address.casefold())) in seen:
                form.add_error("address", _("This address is listed twice."))
            seen.add(key)
            if backends is not None:
                try:
                    Subscription.check_addresses(backends, [messenger])
                except ValidationError as error:
                    form.add_error("messenger", error)


def _verbs_explained() -> SafeString:
    rows = []
    for item in sorted(catalogue, key=lambda item: item.name):
        arguments = _("not known") if item.provides is None else ", ".join(item.provides) or _("none")
        rows.append((item.name, item.description, arguments))
    summary = _("The meaning of the verbs, and the arguments they provide")
    return format_html(
        '<details class="dsn-verbs"><summary>{}</summary>{}</details>',
        summary,
        table([_("Verb"), _("When"), _("Arguments")], rows),
    )


def _conditions_explained() -> SafeString:
    return format_html(
        '{} <code class="dsn-example">created is true</code>, '
        '<code class="dsn-example">instance.price greater 100</code>. {}',
        _("All of them must hold. A path is an argument of the signal, followed by names of fields:"),
        _("To remove a row, empty it."),
    )
