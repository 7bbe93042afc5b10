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
from dsn_core.models.profile import Profile
from dsn_core.payload.private import refuse_sensitive
from dsn_core.plugins import profiles
from dsn_core.plugins.kinds import MESSENGERS
from dsn_core.plugins.registry import Registry, registry


def check_paths(registry: Registry = registry, **kwargs: Any) -> list[checks.CheckMessage]:
    """W007 to W009."""
    return [*_of_settings(registry), *_of_profile(registry)]


def _of_settings(registry: Registry) -> Iterator[checks.CheckMessage]:
    settings, known = conf.current(), registry.names(MESSENGERS)
    named = {"DSN['LANGUAGE_PATH']": settings.LANGUAGE_PATH, "DSN['TIME_ZONE_PATH']": settings.TIME_ZONE_PATH}
    built_in = Profile._meta.get_field("user").remote_field.get_accessor_name()
    uses_built_in = ["DSN['PROFILE_MODEL']"] if settings.PROFILE_MODEL.lower() == Profile._meta.label_lower else []
    for alias, path in settings.ADDRESSES.items():
        where = f"DSN['ADDRESSES'][{alias!r}]"
        if path != profiles.STORED_ADDRESS:
            named[where] = path
        if path.partition(".")[0] == built_in:
            uses_built_in.append(where)
        if alias not in known:
            yield checks.Warning(
                f"DSN['ADDRESSES'] names {alias!r}, and there is no such messenger{nearest(alias, known)}.",
                hint="Correct the name, or install the plugin that provides the messenger.",
                id="dsn.W007",
            )
    for where, path in named.items():
        if path and (why := problem_of(path, get_user_model())):
            yield checks.Warning(
                f"{where} is {path!r}, which leads nowhere: {why}.",
                hint="Write field names separated by dots, starting from the user. Until then messages wait.",
                id="dsn.W007",
            )
    for where in uses_built_in:
        yield checks.Warning(
            f"{where} names the built-in profile, which goes with the next release of dsn-core.",
            hint="Take it out of the settings: 'sms' and 'telegram' then read the same addresses from rows of "
            "dsn_core.Address. Those of another messenger have to be stored there first (dsn_core.store_address).",
            id="dsn.W009",
        )


def _of_profile(registry: Registry) -> Iterator[checks.CheckMessage]:
    try:
        to_user = profiles.relation()
    except ConfigurationError:
        # E005 reports it.
        return
    if to_user is None:
        return
    profile = to_user.model
    fields = [field.name for field in profile._meta.get_fields()]
    given = conf.current().ADDRESSES
    for alias in ready_messengers(registry):
        cls = registry.messenger_class(alias)
        if not cls.profile_field or cls.address_path or cls.profile_field in fields or {alias, cls.name} & set(given):
            continue
        # Without such a field, addresses are rows of ours, as they may be. With a similar one, that is a slip.
        if similar := nearest(cls.profile_field, fields):
            yield checks.Warning(
                f"The messenger {alias!r} looks for users' addresses in the field {cls.profile_field!r} of their "
                f"profile, and {profile._meta.label} has no such field{similar}.",
                hint=f"Add the field, or say in DSN['ADDRESSES'][{alias!r}] where the addresses are "
                f"({profiles.STORED_ADDRESS!r}: in rows of dsn_core.Address).",
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
    """A property, or a model's ``__getattr__``, may return anything."""
    found = inspect.getattr_static(model, step, None)
    if callable(found) or isinstance(found, classmethod | staticmethod):
        return f"{model._meta.label}.{step} is a method, and a path calls nothing"
    if found is not None or hasattr(model, "__getattr__"):
        return ""
    known = [field.name for field in model._meta.get_fields()]
    known += [name for name, value in inspect.getmembers_static(model) if isinstance(value, property)]
    return f"{model._meta.label} has no field or attribute {step!r}{nearest(step, known)}"
