"""Subscriptions: the receivers and backends of a trigger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.signals import m2m_changed, post_delete, post_save
from django.dispatch import receiver
from django.utils.translation import gettext_lazy as _

from dsn_core.contracts.naming import MAX_NAME_LENGTH
from dsn_core.exceptions import DSNError, UnknownName
from dsn_core.models.backend import Backend
from dsn_core.models.configuration import ConfigurationModel, ConfigurationQuerySet, announce
from dsn_core.models.expiry import expiry_field
from dsn_core.models.trigger import Trigger
from dsn_core.plugins.errors import describe
from dsn_core.plugins.registry import registry


class Priority(models.IntegerChoices):
    """Which deliveries are sent first when there are more than can be sent at once."""

    HIGH = 0, _("high")
    NORMAL = 1, _("normal")
    LOW = 2, _("low")


class SubscriptionQuerySet(ConfigurationQuerySet["Subscription"]):
    names_trigger = "trigger_id"


class Subscription(ConfigurationModel):
    """The receivers and the backends of one trigger."""

    trigger = models.ForeignKey(
        Trigger, on_delete=models.CASCADE, related_name="subscriptions", verbose_name=_("trigger")
    )
    name = models.CharField(
        _("name"), max_length=100, blank=True, help_text=_("Tells the subscriptions of one trigger apart.")
    )
    enabled = models.BooleanField(_("enabled"), default=True)
    backends = models.ManyToManyField(Backend, related_name="subscriptions", blank=True, verbose_name=_("backends"))
    users = models.ManyToManyField(
        settings.AUTH_USER_MODEL, related_name="+", blank=True, verbose_name=_("users"), help_text=_("The receivers.")
    )
    groups = models.ManyToManyField(
        "auth.Group",
        related_name="+",
        blank=True,
        verbose_name=_("groups"),
        help_text=_("All users of these groups are receivers, also those that join later."),
    )
    resolver = models.CharField(
        _("receiver resolver"),
        max_length=MAX_NAME_LENGTH,
        blank=True,
        help_text=_("Chooses more receivers when the event happens."),
    )
    argument = models.CharField(
        _("argument"), max_length=255, blank=True, help_text=_("What the resolver needs, e.g. a path: movie.audiences")
    )
    priority = models.PositiveSmallIntegerField(_("priority"), choices=Priority, default=Priority.NORMAL)
    expires = expiry_field()
    created_at = models.DateTimeField(_("created"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated"), auto_now=True)

    objects = SubscriptionQuerySet.as_manager()

    #: The trigger that the row had when it was read or last saved; None for a new one.
    read_trigger_id: int | None = None

    class Meta:
        # So that trigger.subscriptions.add(), which updates through the base manager, is announced, too.
        base_manager_name = "objects"
        verbose_name = _("subscription")
        verbose_name_plural = _("subscriptions")
        ordering = ["trigger", "name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["trigger", "name"],
                name="dsn_subscription_unique",
                violation_error_message=_("This trigger has a subscription of this name already; choose another name."),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name or _('subscription')} ({self.trigger})"

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Subscription:
        subscription = super().from_db(*args, **kwargs)
        subscription.read_trigger_id = subscription.__dict__.get("trigger_id")
        return subscription

    def clean(self) -> None:
        if self.trigger_id is not None:
            self.check_resolver()

    def configure(
        self,
        columns: Mapping[str, Any],
        *,
        users: Iterable[Any] | None,
        groups: Iterable[Any] | None,
        addresses: Iterable[tuple[str, str]] | None,
        backends: Iterable[Any] | None,
    ) -> None:
        """Set what is not None, and check that all fits together. See :meth:`Trigger.subscribe`."""
        for name, value in columns.items():
            if value is not None:
                setattr(self, name, value)
        self.clean_fields(exclude=["trigger"])
        rows = None if backends is None else [self._as_backend(item) for item in backends]
        if rows is not None:
            self.check_backends(rows)
        self.check_resolver()
        self.save()
        if rows is not None:
            self.backends.set(rows)
        if users is not None:
            self.users.set(_several(users, "users"))
        if groups is not None:
            chosen = list(_several(groups, "groups"))
            self.check_groups(chosen)
            self.groups.set(chosen)
        if addresses is not None:
            self._set_addresses(addresses)
        self.check_addresses(list(self.backends.all()), [row.messenger for row in self.addresses.all()])

    def _as_backend(self, item: Any) -> Backend:
        if isinstance(item, Backend):
            return item
        if isinstance(item, str) or not isinstance(item, Sequence) or len(item) != 2:
            raise ValidationError(
                _("%s is no backend: give a Backend, or a pair of messenger and message template.") % repr(item)
            )
        messenger, message_template = item
        return Backend.objects.using(self._state.db).define(messenger, message_template)

    def _set_addresses(self, addresses: Iterable[tuple[str, str]]) -> None:
        wanted = list(dict.fromkeys(_pair(item) for item in addresses))
        for row in self.addresses.all():
            if (row.messenger, row.address) in wanted:
                wanted.remove((row.messenger, row.address))
            else:
                row.delete()
        for messenger, address in wanted:
            row = SubscriptionAddress(subscription=self, messenger=messenger, address=address)
            row.full_clean()
            row.save(using=self._state.db)

    def check_backends(self, backends: Sequence[Backend]) -> None:
        """Refuse a message template that needs what the trigger's signal does not provide."""
        registration = self.trigger.registration
        if registration is None:
            return
        for backend in backends:
            if missing := registration.missing(backend.required_signal_args()):
                reason = _(
                    "The message template %(template)s needs the signal arguments %(missing)s, "
                    "which %(verb)s does not provide. It provides %(provided)s."
                )
                names = {"template": backend.message_template, "missing": ", ".join(missing)}
                provided = ", ".join(registration.provides or ()) or _("none")
                raise ValidationError(reason % {**names, "verb": self.trigger.verb, "provided": provided})

    def check_resolver(self) -> None:
        """Refuse a resolver that is not installed, and an argument that it cannot work with."""
        if not self.resolver:
            if self.argument:
                raise ValidationError({"argument": _("An argument needs the resolver that it is for.")})
            return
        try:
            registry.receiver_resolver(self.resolver).check_argument(self.argument, self.trigger)
        except UnknownName as error:
            raise ValidationError({"resolver": str(error)}) from error
        except (ValueError, DSNError) as error:
            raise ValidationError({"argument": str(error)}) from error
        except Exception as error:
            # An error in a resolver must not break the admin's page.
            reason = _("The resolver %(resolver)s could not check its argument: %(error)s")
            raise ValidationError(
                {"argument": reason % {"resolver": self.resolver, "error": describe(error)}}
            ) from error

    @staticmethod
    def check_groups(groups: Iterable[Any]) -> None:
        if list(groups) and not users_have_groups():
            raise ValidationError(
                _("The user model %s has no groups. Name users, or use a receiver resolver.")
                % get_user_model()._meta.label
            )

    @staticmethod
    def check_addresses(backends: Sequence[Backend], messengers: Iterable[str]) -> None:
        """Refuse a bare address that none of ``backends`` could send to."""
        for messenger in messengers:
            if backends and not any(backend.accepts(messenger) for backend in backends):
                raise ValidationError(
                    _("There is an address for %(messenger)s, but no backend of the subscription sends by it.")
                    % {"messenger": messenger}
                )


def users_have_groups() -> bool:
    """Whether users of this project can be in groups: not every user model has them."""
    return any(relation.name == "groups" for relation in get_user_model()._meta.many_to_many)


def _several(rows: Any, what: str) -> Iterable[Any]:
    if isinstance(rows, str) or not isinstance(rows, Iterable):
        raise ValidationError(
            _("%(what)s is %(given)s; it is a list: %(what)s=[%(given)s].") % {"what": what, "given": repr(rows)}
        )
    return rows


def _pair(item: Any) -> tuple[str, str]:
    if isinstance(item, str) or not isinstance(item, Sequence) or len(item) != 2:
        raise ValidationError(_("%s is no address: give a pair of messenger and address.") % repr(item))
    return item[0], item[1]


class SubscriptionAddress(models.Model):
    """A bare address that gets a subscription's messages."""

    subscription = models.ForeignKey(
        Subscription, on_delete=models.CASCADE, related_name="addresses", verbose_name=_("subscription")
    )
    messenger = models.CharField(
        _("messenger"), max_length=MAX_NAME_LENGTH, help_text=_("The messenger whose address it is, e.g. email.")
    )
    address = models.CharField(_("address"), max_length=500)

    class Meta:
        verbose_name = _("address")
        verbose_name_plural = _("addresses")
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["subscription", "messenger", "address"], name="dsn_address_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.messenger}: {self.address}"

    def clean(self) -> None:
        try:
            registry.messenger_class(self.messenger)
        except UnknownName as error:
            raise ValidationError({"messenger": str(error)}) from error


@receiver([post_save, post_delete], sender=Subscription, dispatch_uid="dsn_subscription_changed")
def _subscription_changed(instance: Subscription, using: str, **kwargs: object) -> None:
    # A subscription that was moved also concerns its previous trigger.
    announce(Subscription, using, {instance.trigger_id, instance.read_trigger_id or instance.trigger_id})
    instance.read_trigger_id = instance.trigger_id


@receiver(m2m_changed, sender=Subscription.backends.through, dispatch_uid="dsn_subscription_backends_checked")
def _check_added_backends(
    instance: Any, action: str, reverse: bool, model: Any, pk_set: set[Any] | None, using: str, **kwargs: object
) -> None:
    """Check the backends in ``subscription.backends.add()`` and its reverse, too."""
    if action != "pre_add" or not pk_set:
        return
    others = model._base_manager.using(using).filter(pk__in=pk_set)
    if reverse:
        for subscription in others.select_related("trigger"):
            subscription.check_backends([instance])
    else:
        instance.check_backends(list(others))
