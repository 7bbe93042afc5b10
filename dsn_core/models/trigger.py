"""Triggers: the signals that become events."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models.signals import post_delete, post_save, pre_save
from django.dispatch import Signal, receiver
from django.utils.translation import gettext_lazy as _

from dsn_core import references
from dsn_core.conditions import validation, wording
from dsn_core.conditions.path_types import Roots
from dsn_core.contracts.naming import MAX_NAME_LENGTH
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.exceptions import UnknownName
from dsn_core.models.configuration import ConfigurationModel, announce
from dsn_core.models.trigger_queryset import IDENTITY, TriggerQuerySet
from dsn_core.plugins.catalogue import catalogue, register_signal

if TYPE_CHECKING:
    from dsn_core.models.subscription import Subscription


#: The app whose own rows never trigger anything: a delivery that fires a delivery would be an endless loop.
OWN_APP: Final = "dsn_core"


class Trigger(ConfigurationModel):
    """When: a verb, and optionally which action object, actor object and target."""

    verb = models.CharField(_("verb"), max_length=MAX_NAME_LENGTH, help_text=_("The registered name of a signal."))
    action_object_model = models.CharField(
        _("action object's model"),
        max_length=255,
        blank=True,
        help_text=_("The model the signal is about, as app.model. Empty: any. Model signals need one."),
    )
    action_object_pk = models.CharField(
        _("action object's key"), max_length=255, blank=True, help_text=_("Only this one instance. Empty: any.")
    )
    actor_object_model = models.CharField(
        _("actor object's model"),
        max_length=255,
        blank=True,
        help_text=_("The model of the actor, as app.model. Empty: any."),
    )
    actor_object_pk = models.CharField(
        _("actor object's key"), max_length=255, blank=True, help_text=_("Only this one actor. Empty: any.")
    )
    target = models.CharField(_("target"), max_length=255, blank=True, help_text=_("Only this target. Empty: any."))
    conditions = models.JSONField(
        _("conditions"),
        default=list,
        blank=True,
        help_text=_("Rows of path, operator and value, all of which must hold. None: no further conditions."),
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    # Uniqueness of all the columns together would be too wide an index on MariaDB.
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    objects = TriggerQuerySet.as_manager()

    class Meta:
        verbose_name = _("trigger")
        verbose_name_plural = _("triggers")
        ordering = ["verb", "id"]

    def __str__(self) -> str:
        about = [_describe(self.action_object_model, self.action_object_pk)]
        if self.actor_object_model:
            about.append(_("by {}").format(_describe(self.actor_object_model, self.actor_object_pk)))
        if self.target:
            about.append(_("to {}").format(self.target))
        if self.conditions:
            about.append(_("if {}").format(", ".join(map(wording.in_words, self.conditions))))
        return " ".join([self.verb, *filter(None, about)])

    @staticmethod
    def registered_verb_signal(name: str, signal: Signal, **parts: Any) -> SignalRegistration:
        """django-signal-notifier's name of :func:`dsn_core.register_signal`."""
        return register_signal(name, signal, **parts)

    @property
    def registration(self) -> SignalRegistration | None:
        """The registration of the verb's signal; None when it is not registered."""
        return catalogue.find(self.verb)

    @property
    def provides(self) -> tuple[str, ...] | None:
        """The names of the signal's arguments, or None when they are not known."""
        provides = None if self.registration is None else self.registration.provides
        return None if provides is None else tuple(provides)

    @property
    def removes(self) -> bool:
        """Whether the signal is about the deletion of its instance."""
        return bool(self.registration and self.registration.removes)

    @property
    def action_object_class(self) -> type[models.Model] | None:
        return references.find_model(self.action_object_model)

    def make_digest(self) -> str:
        """A hash of the fields that identify this trigger."""
        parts: list[Any] = [getattr(self, name) for name in IDENTITY if name != "conditions"]
        if self.conditions:
            # All of them must hold, so their order does not matter.
            parts.append(sorted(json.dumps(row, sort_keys=True) for row in self.conditions))
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def clean(self) -> None:
        self.clean_parts()
        if type(self)._default_manager.filter(digest=self.make_digest()).exclude(pk=self.pk).exists():
            raise ValidationError(_("An identical trigger exists already."))
        if self.pk is not None:
            for subscription in self.subscriptions.prefetch_related("backends"):
                subscription.trigger = self
                try:
                    subscription.check_backends(list(subscription.backends.all()))
                    subscription.check_resolver()
                except ValidationError as error:
                    # The error is of no field of the trigger, but of a subscription.
                    raise ValidationError(
                        [_("%(name)s: %(reason)s") % {"name": subscription, "reason": text} for text in error.messages]
                    ) from error

    def clean_parts(self) -> None:
        """Refuse what could never match, and normalise keys for comparison."""
        try:
            registration = catalogue.get(self.verb)
        except UnknownName as error:
            raise ValidationError({"verb": str(error)}) from error
        if registration.needs_model and not self.action_object_model:
            reason = _("A trigger on %(verb)s must name the model that it is about.") % {"verb": self.verb}
            raise ValidationError({"action_object_model": reason})
        for part in ("action_object", "actor_object"):
            self._clean_reference(part)
        model = self.action_object_class
        roots = Roots(registration, model, references.find_model(self.actor_object_model))
        try:
            self.conditions = validation.clean(self.conditions, roots)
        except ValidationError as error:
            raise ValidationError({"conditions": error.messages}) from error
        if registration.needs_model and model is not None and model._meta.app_label == OWN_APP:
            own = _("dsn-core's own rows trigger nothing: messages about messages never end.")
            raise ValidationError({"action_object_model": own})

    @property
    def roots(self) -> Roots | None:
        """Where the paths of conditions can begin; None when nothing installed registers the verb."""
        registration = self.registration
        actor = references.find_model(self.actor_object_model)
        return None if registration is None else Roots(registration, self.action_object_class, actor)

    def _clean_reference(self, part: str) -> None:
        label, key = getattr(self, f"{part}_model"), getattr(self, f"{part}_pk")
        if not label and key:
            raise ValidationError({f"{part}_model": _("A key needs the model that it belongs to.")})
        if not label:
            return
        model = references.find_model(label)
        if model is None:
            reason = _("There is no model %(label)s; write it as app.model.") % {"label": label}
            raise ValidationError({f"{part}_model": reason})
        setattr(self, f"{part}_model", model._meta.label_lower)
        if key:
            try:
                setattr(self, f"{part}_pk", references.clean_key(model, key))
            except ValidationError as error:
                raise ValidationError({f"{part}_pk": error.messages}) from error

    def save(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("update_fields"):
            kwargs["update_fields"] = {*kwargs["update_fields"], "digest"}
        super().save(*args, **kwargs)

    def subscribe(
        self,
        name: str = "",
        *,
        users: Iterable[Any] | None = None,
        groups: Iterable[Any] | None = None,
        resolver: str | None = None,
        argument: str | None = None,
        addresses: Iterable[tuple[str, str]] | None = None,
        backends: Iterable[Any] | None = None,
        enabled: bool | None = None,
        priority: int | None = None,
        expires: str | None = None,
    ) -> Subscription:
        """Create or update this trigger's subscription ``name``, and return it.

        ``users`` and ``groups`` are receivers; ``resolver`` and its ``argument`` choose more of them when the event
        happens; ``addresses`` are pairs of messenger and address; ``backends`` are ``Backend`` rows or pairs of
        messenger and message template, created when missing; ``expires`` is how long after its event a message is
        still sent (``"90s"``, ``"2h"``, ``"3d"``; empty: its message template decides, or there is no limit). A given
        argument replaces the stored value; the others stay as they are.

        All or nothing: raises ``ValidationError`` with what cannot work together.
        """
        columns: dict[str, Any] = {"resolver": resolver, "argument": argument, "enabled": enabled}
        columns |= {"priority": priority, "expires": expires}
        with transaction.atomic(using=self._state.db):
            subscription, _created = self.subscriptions.get_or_create(name=name)
            subscription.configure(columns, users=users, groups=groups, addresses=addresses, backends=backends)
        return subscription


def _describe(label: str, key: str) -> str:
    return f"{label} {key}".strip() if label else ""


@receiver(pre_save, sender=Trigger, dispatch_uid="dsn_trigger_digested")
def _digest(instance: Trigger, **kwargs: object) -> None:
    # Not in save(), which fixtures do not call.
    instance.digest = instance.make_digest()


@receiver([post_save, post_delete], sender=Trigger, dispatch_uid="dsn_trigger_changed")
def _trigger_changed(instance: Trigger, using: str, **kwargs: object) -> None:
    announce(Trigger, using, [instance.pk])
