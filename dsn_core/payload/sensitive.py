"""Sensitive values, which are never stored: by their names, the settings, or their model's attribute."""

from __future__ import annotations

import functools
import re
from itertools import pairwise, product
from typing import Any, Final, NamedTuple, cast

from django.core.exceptions import FieldError
from django.db.models import Field, Model, QuerySet
from django.db.models.query import FlatValuesListIterable

from dsn_core import conf
from dsn_core.payload.placeholders import hidden_value

#: The model attribute that names more fields whose values are never stored.
ATTRIBUTE = "dsn_sensitive_fields"

#: A name is sensitive with one of these words anywhere, one of the next at its end, or one of the pairs in a row.
_ANYWHERE: Final = frozenset({
    "password", "passwords", "passwd", "pwd", "passphrase", "secret", "secrets", "credential", "credentials", "otp",
    "totp", "cvv",
})  # fmt: skip
_AT_THE_END: Final = frozenset({
    "token", "tokens", "signature", "authorization", "bearer", "cookie", "cookies", "apikey", "jwt", "sessionid", "pin",
})  # fmt: skip
_KINDS_OF_KEYS: Final = ("api", "secret", "private", "access", "signing", "encryption", "session", "auth")
_IN_A_ROW: Final = frozenset(product(_KINDS_OF_KEYS, ("key", "keys"))) | {
    ("session", "data"), ("recovery", "codes"), ("recovery", "code"), ("token", "hash"), ("token", "digest"),
}  # fmt: skip
#: Words of snake_case, camelCase, CONSTANTS and dashed-names, without digits: ``new_password1``.
_WORD: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")


class Names(NamedTuple):
    """The sensitive names and the plain names of the settings, in lower case."""

    hidden: frozenset[str] = frozenset()
    plain: frozenset[str] = frozenset()


def names(settings: conf.Settings | None = None) -> Names:
    """The names in ``settings``, by default in those of now."""
    settings = settings or conf.current()
    return Names(frozenset(map(str.lower, settings.SENSITIVE_FIELDS)), frozenset(map(str.lower, settings.PLAIN_FIELDS)))


def is_sensitive(name: str, everywhere: Names) -> bool:
    """Whether an argument, key or field of this name is never stored.

    Either ``SENSITIVE_FIELDS`` lists it, or its words are secret and ``PLAIN_FIELDS`` does not list it.
    """
    lowered = name.lower()
    return lowered in everywhere.hidden or (_has_secret_words(name) and lowered not in everywhere.plain)


@functools.lru_cache(maxsize=4_096)
def _has_secret_words(name: str) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    if not words:
        return False
    # Some are written as one word: userpassword, csrfmiddlewaretoken.
    return (
        not _ANYWHERE.isdisjoint(words)
        or any(word.endswith(("password", "passwords")) for word in words)
        or words[-1] in _AT_THE_END
        or words[-1].endswith(("token", "tokens"))
        or not _IN_A_ROW.isdisjoint(pairwise(words))
    )


def is_no_secret(value: object) -> bool:
    """Whether a value cannot be a secret: None, or a flag such as ``password_changed``."""
    return value is None or value is True or value is False


def own(model: type) -> set[str]:
    """The names in the attribute of ``model`` and of its bases: a subclass can only add names."""
    given = (vars(cls).get(ATTRIBUTE, ()) for cls in model.__mro__)
    return {name for some in given for name in ((some,) if isinstance(some, str) else some)}


def unknown(model: type[Model]) -> list[str]:
    """The names in the attribute of ``model`` itself that are no fields, sorted."""
    given = vars(model).get(ATTRIBUTE, ())
    known = {name for field in model._meta.concrete_fields for name in (field.name, field.attname)}
    return sorted({given} - known if isinstance(given, str) else set(given) - known)


@functools.lru_cache(maxsize=1_024)
def attnames(model: type[Model], everywhere: Names) -> frozenset[str]:
    """The attributes of ``model`` that hold sensitive values, by their names or the model's attribute."""
    return frozenset(field.attname for field in model._meta.concrete_fields if _is_hidden(field, model, everywhere))


def _is_hidden(field: Any, model: type[Model], everywhere: Names) -> bool:
    if is_sensitive(field.name, everywhere) or not own(model).isdisjoint({field.name, field.attname}):
        return True
    # Columns that refer to a secret key hold the secret, too.
    target = field.target_field if field.many_to_one or field.one_to_one else None
    return target is not None and target is not field and _is_hidden(target, target.model, everywhere)


@functools.lru_cache(maxsize=1_024)
def is_session(model: type[Model]) -> bool:
    """Whether rows of ``model`` are sessions of Django, of which nothing is stored."""
    from django.contrib.sessions.base_session import AbstractBaseSession  # needs the apps

    return issubclass(model, AbstractBaseSession)


def hides_keys(model: type[Model], everywhere: Names) -> bool:
    """Whether the keys of the rows of ``model`` are secrets."""
    keys = {field.attname for field in model._meta.pk_fields}
    return is_session(model) or not keys.isdisjoint(attnames(model, everywhere))


def hide_columns(found: list[Any], rows: QuerySet[Any], everywhere: Names, at: str) -> list[Any]:
    """``found``, the results of the queryset ``rows`` of ``values()`` or ``values_list()``, without sensitive values.

    ``at`` is the name of the rows in the event.
    """
    query: Any = rows.query
    # As Django finds the columns and their order.
    names = list(query.selected or (*query.extra_select, *query.values_select, *query.annotation_select))
    hidden = [_leads_to_sensitive(str(name), rows, everywhere) for name in names]
    if not any(hidden):
        return found
    blanks = [hidden_value(f"{at}.{name}") if hide else None for name, hide in zip(names, hidden, strict=True)]
    if issubclass(rows._iterable_class, FlatValuesListIterable):
        return [_blanked(item, blanks[0]) for item in found]
    return [
        {name: _blanked(row[name], blank) for name, blank in zip(names, blanks, strict=True)}
        if isinstance(row, dict)
        else tuple(_blanked(item, blank) for item, blank in zip(row, blanks, strict=True))
        for row in found
    ]


def _blanked(value: Any, blank: Any) -> Any:
    return value if blank is None or is_no_secret(value) else blank


def _leads_to_sensitive(path: str, rows: QuerySet[Any], everywhere: Names) -> bool:
    parts, query = path.split("__"), cast(Any, rows.query)
    if any(is_sensitive(part, everywhere) for part in parts):
        return True
    try:
        # Through relations, as the query finds its column; for an annotation, the field of its F().
        annotation = query.annotations.get(path)
        field = query.names_to_path(parts, rows.model._meta)[1] if annotation is None else annotation.target
    except (FieldError, AttributeError):
        # Computed by the database.
        return False
    return isinstance(field, Field) and field.attname in attnames(field.model, everywhere)
