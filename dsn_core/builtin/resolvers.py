"""The built-in receiver resolvers."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any, ClassVar

from django.apps import apps
from django.contrib.auth import get_user_model
from django.db.models import Model, QuerySet

from dsn_core.contracts.activities import ActivityView
from dsn_core.contracts.receivers import BaseReceiverResolver
from dsn_core.contracts.registrations import PARTS_OF_ACTIVITY
from dsn_core.exceptions import ConfigurationError, nearest
from dsn_core.payload.private import field_of, follow, refuse_sensitive


class PathResolver(BaseReceiverResolver):
    """Follows paths from the signal's arguments, e.g. movie.audiences or instance.owner; several with commas."""

    name = "path"

    def resolve(self, event: ActivityView, argument: str) -> Iterable[Any]:
        # A signal's argument named target may be an object; the activity's target is its text.
        start = {**event.trigger_context, "sender": event.sender, **event.signal_kwargs}
        found = [follow(start, path) for path in _paths(argument)]
        # Alone, what a path leads to says by itself whether it is one user or many.
        return found[0] if len(found) == 1 else itertools.chain.from_iterable(map(_several, found))

    def check_argument(self, argument: str, trigger: Any) -> None:
        for path in _paths(argument):
            _check_path(path, trigger)


def _several(found: Any) -> Iterable[Any]:
    """What one of several paths leads to, as receivers. A queryset stays one, to be read page by page."""
    if found is None:
        return ()
    return found if isinstance(found, Iterable) and not isinstance(found, str | bytes | QuerySet) else (found,)


def _paths(argument: str) -> list[str]:
    return [path.strip() for path in argument.split(",")]


def _check_path(path: str, trigger: Any) -> None:
    steps = path.split(".")
    if any(not step or step.startswith("_") for step in steps):
        raise ValueError(
            f"{path!r} is not a path; write one such as 'instance.owner' or 'movie.audiences', or several with commas."
        )
    known = None if trigger.provides is None else [*trigger.provides, *PARTS_OF_ACTIVITY, "sender"]
    if known is not None and steps[0] not in known:
        raise ValueError(
            f"The path {path!r} begins with {steps[0]!r}, which {trigger.verb} does not provide"
            f"{nearest(steps[0], known)}. "
            f"It provides {', '.join(known)}."
        )
    model = trigger.action_object_class if steps[0] in ("instance", "action_object") else None
    try:
        refuse_sensitive(path, model, at=1)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    if model is not None:
        _check_steps(model, steps[1:], path, removed=trigger.removes)


def _check_steps(model: type[Model], steps: list[str], path: str, *, removed: bool) -> None:
    """Raise ``ValueError`` unless the path ends at users, as far as the models show it."""
    for number, step in enumerate(steps):
        if (field := field_of(model, step)) is None:
            if not hasattr(model, step):
                near = nearest(step, [field.name for field in model._meta.get_fields()])
                raise ValueError(f"The path {path!r} cannot be followed: {model._meta.label} has no {step!r}{near}.")
            return
        if not field.is_relation:
            raise ValueError(
                f"The path {path!r} leads to {field.name!r} of {model._meta.label}, which is no relation; receivers "
                f"are users ({get_user_model()._meta.label})."
            )
        to_many = field.many_to_many or field.one_to_many
        if removed and number == 0 and (to_many or (field.one_to_one and field.auto_created)):
            raise ValueError(
                f"The path {path!r} leads through the relation {step!r} of an object that is being deleted: "
                "its rows no longer exist when the message is made. Send a signal of your own before the deletion, "
                "with the receivers as an argument."
            )
        if not isinstance(field.related_model, type):
            # A relation to any model: its value is known only when the event happens.
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

    def check_argument(self, argument: str, trigger: Any) -> None:
        _refuse_argument(self.name, argument)


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
        _refuse_argument(self.name, argument)
        if self.flag and not _has_field(self.flag):
            raise ValueError(
                f"The resolver {self.name!r} needs the field {self.flag!r}, which {get_user_model()._meta.label} lacks."
            )


def _refuse_argument(resolver: str, argument: str) -> None:
    if argument:
        raise ValueError(f"The resolver {resolver!r} takes no argument; leave it empty.")


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


class GroupResolver(BaseReceiverResolver):
    """The users of the group with this name."""

    name = "group"

    def resolve(self, event: ActivityView, argument: str) -> Iterable[Any]:
        _check_group(argument)
        return get_user_model()._default_manager.filter(groups__name=argument)

    def check_argument(self, argument: str, trigger: Any) -> None:
        _require_field(self.name, "groups")
        try:
            _check_group(argument)
        except ConfigurationError as error:
            raise ValueError(str(error)) from None


def _check_group(name: str) -> None:
    """Raise ``ConfigurationError`` unless there is such a group: it may have been renamed since it was chosen."""
    groups = apps.get_model("auth.Group")._default_manager
    if not groups.filter(name=name).exists():
        names = groups.values_list("name", flat=True)
        raise ConfigurationError(f"There is no group {name!r}{nearest(name, names)}. Write the name of a group.")


class PermissionResolver(BaseReceiverResolver):
    """All active users who hold a permission, by themselves, by a group or as superusers: shop.view_order."""

    name = "permission"

    def resolve(self, event: ActivityView, argument: str) -> Iterable[Any]:
        _check_permission(argument)
        from django.contrib.auth.backends import ModelBackend

        # None leaves the column out, which not every user model has.
        is_active: Any = True if _has_field("is_active") else None
        return ModelBackend().with_perm(argument, is_active=is_active)

    def check_argument(self, argument: str, trigger: Any) -> None:
        _require_field(self.name, "user_permissions")
        if argument in _declared_permissions():
            # What models declare is made by migrate, which may come later.
            return
        try:
            _check_permission(argument)
        except ConfigurationError as error:
            raise ValueError(str(error)) from None


def _check_permission(name: str) -> None:
    """Raise ``ConfigurationError`` unless there is such a permission: Django finds the superusers for any name."""
    label, _dot, codename = name.partition(".")
    permissions = apps.get_model("auth.Permission")._default_manager
    if not permissions.filter(content_type__app_label=label, codename=codename).exists():
        raise ConfigurationError(
            f"There is no permission {name!r}{nearest(name, _declared_permissions() - {name})}. "
            "Write the app's label, a dot and the codename: 'shop.view_order'. New ones are made by migrate."
        )


def _declared_permissions() -> set[str]:
    found = set()
    for model in apps.get_models():
        options = model._meta
        names = [f"{action}_{options.model_name}" for action in options.default_permissions]
        found |= {f"{options.app_label}.{name}" for name in (*names, *(name for name, _label in options.permissions))}
    return found


def _require_field(resolver: str, name: str) -> None:
    users = get_user_model()
    if all(field.name != name for field in users._meta.many_to_many):
        raise ValueError(
            f"The resolver {resolver!r} needs the field {name!r}, which {users._meta.label} lacks: it comes from "
            "django.contrib.auth's PermissionsMixin."
        )


RESOLVERS: list[type[BaseReceiverResolver]] = [
    PathResolver,
    GroupResolver,
    PermissionResolver,
    ActorResolver,
    SuperusersResolver,
    StaffResolver,
    EveryoneResolver,
]
