"""The built-in receiver resolvers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.db.models import Manager, Model, QuerySet

from dsn_core.contracts.activities import ActivityView
from dsn_core.contracts.receivers import BaseReceiverResolver
from dsn_core.contracts.registrations import PARTS_OF_ACTIVITY
from dsn_core.exceptions import ConfigurationError
from dsn_core.payload.private import field_of, follow, refuse_sensitive


class PathResolver(BaseReceiverResolver):
    """Follows a path from the signal's arguments, e.g. movie.audiences or instance.owner."""

    name = "path"

    def resolve(self, event: ActivityView, argument: str) -> Iterable[Any]:
        # A signal's argument named target may be an object; the activity's target is its text.
        start = {**event.trigger_context, "sender": event.sender, **event.signal_kwargs}
        found: Any = follow(start, argument)
        if isinstance(found, Manager | QuerySet):
            return found.all()
        return found if found is not None else ()

    def check_argument(self, argument: str, trigger: Any) -> None:
        steps = argument.split(".")
        if not argument or any(not step or step.startswith("_") for step in steps):
            raise ValueError(f"{argument!r} is not a path; write one such as 'instance.owner' or 'movie.audiences'.")
        known = None if trigger.provides is None else [*trigger.provides, *PARTS_OF_ACTIVITY, "sender"]
        if known is not None and steps[0] not in known:
            raise ValueError(
                f"The path {argument!r} begins with {steps[0]!r}, which {trigger.verb} does not provide. "
                f"It provides {', '.join(known)}."
            )
        model = trigger.action_object_class if steps[0] in ("instance", "action_object") else None
        try:
            refuse_sensitive(argument, model, at=1)
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        if model is not None:
            _check_steps(model, steps[1:], argument, removed=trigger.removes)


def _check_steps(model: type[Model], steps: list[str], path: str, *, removed: bool) -> None:
    """Raise ``ValueError`` unless the path ends at users, as far as the models show it."""
    for number, step in enumerate(steps):
        if (field := field_of(model, step)) is None:
            if not hasattr(model, step):
                raise ValueError(f"The path {path!r} cannot be followed: {model._meta.label} has no {step!r}.")
            return
        to_many = field.many_to_many or field.one_to_many
        if removed and number == 0 and (to_many or (field.one_to_one and field.auto_created)):
            raise ValueError(
                f"The path {path!r} leads through the relation {step!r} of an object that is being deleted: "
                "its rows no longer exist when the message is made. Send a signal of your own before the deletion, "
                "with the receivers as an argument."
            )
        if not isinstance(field.related_model, type):
            # A plain column, or a relation to any model: its value is known only when the event happens.
            return
        model = field.related_model
    users = get_user_model()
    if not issubclass(users, model) and not issubclass(model, users):
        raise ValueError(f"The path {path!r} leads to {model._meta.label}; receivers are users ({users._meta.label}).")


class ActorResolver(BaseReceiverResolver):
    """The actor object."""

    name = "actor"

    def resolve(self, event: ActivityView, argument: str) -> Iterable[Any]:
        return () if event.actor_object is None else (event.actor_object,)


class EveryoneResolver(BaseReceiverResolver):
    """All active users."""

    name = "everyone"
    #: The field of the user model that must be true; empty: all users.
    flag: ClassVar[str] = ""

    def resolve(self, event: ActivityView, argument: str) -> Iterable[Any]:
        # Not every user model has the column is_active: in AbstractBaseUser it is a plain attribute.
        active = ["is_active"] if _has_field("is_active") else []
        wanted = [*active, self.flag] if self.flag else active
        return get_user_model()._default_manager.filter(**dict.fromkeys(wanted, True))

    def check_argument(self, argument: str, trigger: Any) -> None:
        if self.flag and not _has_field(self.flag):
            raise ValueError(
                f"The resolver {self.name!r} needs the field {self.flag!r}, which {get_user_model()._meta.label} lacks."
            )


def _has_field(name: str) -> bool:
    return any(field.name == name for field in get_user_model()._meta.concrete_fields)


class SuperusersResolver(EveryoneResolver):
    """All active superusers."""

    name = "superusers"
    flag = "is_superuser"


class StaffResolver(EveryoneResolver):
    """All active staff users."""

    name = "staff"
    flag = "is_staff"


RESOLVERS: list[type[BaseReceiverResolver]] = [
    PathResolver,
    ActorResolver,
    SuperusersResolver,
    StaffResolver,
    EveryoneResolver,
]
