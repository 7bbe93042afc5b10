"""The model of ``DSN["PROFILE_MODEL"]``, which is one-to-one with the user and holds users' addresses."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.conf import settings
from django.db.models import Model, OneToOneField

from dsn_core import conf
from dsn_core.exceptions import ConfigurationError


def relation() -> OneToOneField[Any, Any]:
    """The profile's field for the user.

    Raises :class:`~dsn_core.exceptions.ConfigurationError` when the setting names no model, or one without the field.
    """
    label = conf.current().PROFILE_MODEL
    try:
        model: type[Model] = apps.get_model(label)
    except (LookupError, ValueError):
        raise ConfigurationError(
            f"DSN['PROFILE_MODEL'] is {label!r}, and there is no such model; write it as 'app.Model'."
        ) from None
    user_model = apps.get_model(settings.AUTH_USER_MODEL)
    for field in model._meta.get_fields():
        if isinstance(field, OneToOneField) and field.related_model is user_model:
            return field
    raise ConfigurationError(
        f"DSN['PROFILE_MODEL'] is {label!r}, which has no OneToOneField to {user_model._meta.label}: "
        "the user of a profile is not known."
    )


def path_to(field: str) -> str:
    """The path from a user to ``field`` of their profile; empty where the profile has no such field."""
    to_user = relation()
    if not any(field == item.name for item in to_user.model._meta.get_fields()):
        return ""
    return f"{to_user.remote_field.get_accessor_name()}.{field}"
