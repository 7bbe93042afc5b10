"""Checks of the settings' paths to users' addresses, languages and time zones. None runs a query."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.core import checks
from django.core.exceptions import FieldDoesNotExist
from django.db import models

from dsn_core import conf
from dsn_core.checks.installed import ready_messengers
from dsn_core.exceptions import ConfigurationError, nearest
from dsn_core.payload.private import refuse_sensitive
from dsn_core.plugins import profiles
from dsn_core.plugins.kinds import MESSENGERS
from dsn_core.plugins.registry import Registry, registry


def check_paths(**kwargs: Any) -> list[checks.CheckMessage]:
    """W007 and W008."""
    return messages(registry)


def messages(registry: Registry) -> list[checks.CheckMessage]:
    """:func:`check_paths` for any registry."""
    return [*_of_settings(), *_of_accounts(registry), *_of_profile(registry)]


def _of_settings() -> Iterator[checks.CheckMessage]:
    settings = conf.current()
    paths = {"LANGUAGE_PATH": settings.LANGUAGE_PATH, "TIME_ZONE_PATH": settings.TIME_ZONE_PATH}
    named = {f"DSN[{name!r}]": path for name, path in paths.items()}
    named |= {f"DSN['ADDRESSES'][{alias!r}]": path for alias, path in settings.ADDRESSES.items()}
    for where, path in named.items():
        if path and (why := problem_of(path, get_user_model())):
            yield checks.Warning(
                f"{where} is {path!r}, which leads nowhere: {why}.",
                hint="Write field names separated by dots, starting from the user. Until then messages wait.",
                id="dsn.W007",
            )


def _of_accounts(registry: Registry) -> Iterator[checks.CheckMessage]:
    """The messengers that ``ADDRESSES`` names and that are not installed."""
    known = registry.names(MESSENGERS)
    for alias in conf.current().ADDRESSES:
        if alias not in known:
            yield checks.Warning(
                f"DSN['ADDRESSES'] names {alias!r}, and there is no such messenger{nearest(alias, known)}.",
                hint="Correct the name, or install the plugin that provides the messenger.",
                id="dsn.W007",
            )


def _of_profile(registry: Registry) -> Iterator[checks.CheckMessage]:
    try:
        profile: type[models.Model] = profiles.relation().model
    except ConfigurationError:
        # E005 reports it.
        return
    fields = [field.name for field in profile._meta.get_fields()]
    given = conf.current().ADDRESSES
    for alias in ready_messengers(registry):
        cls = registry.messenger_class(alias)
        if not cls.profile_field or cls.address_path or cls.profile_field in fields or {alias, cls.name} & set(given):
            continue
        yield checks.Warning(
            f"The messenger {alias!r} looks for users' addresses in the field {cls.profile_field!r} of their profile, "
            f"and {profile._meta.label} has no such field{nearest(cls.profile_field, fields)}.",
            hint=f"Add the field, or set DSN['ADDRESSES'][{alias!r}] to the path to the addresses.",
            id="dsn.W008",
        )


def problem_of(path: str, model: type[models.Model]) -> str:
    """Why ``path`` cannot be followed from a ``model`` instance; empty where it may be possible."""
    try:
        refuse_sensitive(path, model)
    except ConfigurationError as error:
        return str(error).rstrip(".")
    steps = path.split(".")
    for number, step in enumerate(steps):
        if not step.isidentifier() or step.startswith("_"):
            return f"{step!r} is no name of a field"
        try:
            field: Any = model._meta.get_field(step)
        except FieldDoesNotExist:
            return _problem_of_attribute(step, model)
        if field.one_to_many or field.many_to_many:
            return f"{model._meta.label}.{step} leads to many objects"
        if not isinstance(field.related_model, type):
            is_plain = isinstance(field, models.CharField | models.TextField | models.IntegerField | models.DateField)
            return f"{model._meta.label}.{step} is a plain value" if is_plain and steps[number + 1 :] else ""
        model = field.related_model
    return ""


def _problem_of_attribute(step: str, model: type[models.Model]) -> str:
    """The same for a name that is no field. A property, or a model's ``__getattr__``, may return anything."""
    found = inspect.getattr_static(model, step, None)
    if callable(found) or isinstance(found, classmethod | staticmethod):
        return f"{model._meta.label}.{step} is a method, and a path calls nothing"
    if found is not None or hasattr(model, "__getattr__"):
        return ""
    known = [field.name for field in model._meta.get_fields()]
    known += [name for name, value in inspect.getmembers_static(model) if isinstance(value, property)]
    return f"{model._meta.label} has no field or attribute {step!r}{nearest(step, known)}"
