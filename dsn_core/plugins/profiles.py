"""Where addresses are that no path says: in the model that ``DSN["PROFILE_MODEL"]`` names, or in rows of ours."""

from __future__ import annotations

from typing import Any, Final

from django.apps import apps
from django.conf import settings
from django.db.models import Model, OneToOneField

from dsn_core import conf
from dsn_core.exceptions import ConfigurationError

#: The path of a user's address that is a row of :class:`dsn_core.models.Address`. The query that reads users for a
#: messenger sets the attribute of this name.
STORED_ADDRESS: Final = "dsn_address"


def relation() -> OneToOneField[Any, Any] | None:
    """The profile's field that leads to the user; None where the project names no profile.

    Raises :class:`~dsn_core.exceptions.ConfigurationError` when the setting names no model, or one without the field.
    """
    label = conf.current().PROFILE_MODEL
    if not label:
        return None
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
    """The path from a user to ``field`` of their profile, or to their row where there is no such profile or field."""
    to_user = relation()
    if to_user is None or not any(field == item.name for item in to_user.model._meta.get_fields()):
        return STORED_ADDRESS
    return f"{to_user.remote_field.get_accessor_name()}.{field}"
