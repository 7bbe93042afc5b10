"""Whose database this is: a copy of one that belongs to another environment sends nothing.

The database remembers ``DSN["ENVIRONMENT"]``, and each look for work reads that name in the same statement.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

from django.db import connections
from django.db.models import QuerySet, Subquery
from django.utils import timezone

from dsn_core import conf
from dsn_core.models import Environment, MessengerState

logger = logging.getLogger("dsn_core.run")

#: What was said of which database, so that it is said once.
_said: set[tuple[str, str, str | None]] = set()

ADOPT: Final = "If this database is meant to send from here, say so by 'manage.py dsn_adopt'."


@dataclass(frozen=True)
class Mismatch:
    """``setting``: what ``DSN["ENVIRONMENT"]`` says; ``remembered``: what the database does. Empty: nothing."""

    setting: str
    remembered: str

    def __str__(self) -> str:
        why = conf.misfit("ENVIRONMENT") or (f"is {self.setting!r}" if self.setting else "is not set")
        here = f"DSN['ENVIRONMENT'] {why} here"
        if self.remembered:
            return f"Nothing is sent: the database belongs to the environment {self.remembered!r}, and {here}."
        return f"Nothing is sent: {here}, and the database has sent messages before under no such name."


def remembered_sql(using: str) -> str:
    """The environment's name as a part of a SELECT; NULL where none is remembered."""
    quote = connections[using].ops.quote_name
    table = quote(Environment._meta.db_table)
    return f"(SELECT {quote('name')} FROM {table} WHERE {quote('id')} = {Environment.ONLY})"  # noqa: S608 - names


def remembered_query(using: str) -> Subquery:
    """The same for a queryset."""
    return Subquery(_rows(using).values("name")[:1])


def holds(remembered: str | None) -> bool:
    """Whether setting and database differ. For databases that messages were ever made in."""
    return (remembered or "") != conf.current().ENVIRONMENT


def may_work(remembered: str | None, using: str) -> bool:
    """Whether what is due may be done here, where the database remembers that name. Asks no more where they agree.

    A database that has sent nothing yet is adopted. Where it is not, the log says so, once.
    """
    if not holds(remembered):
        if _said:
            _said.clear()
        return True
    found = _mismatch(remembered, using)
    if found is None:
        remember(conf.current().ENVIRONMENT, using, only_if_none=True)
        return True
    if (key := (using, found.setting, found.remembered)) not in _said:
        _said.add(key)
        logger.error("%s %s This is said once.", found, ADOPT)
    return False


def find(using: str) -> Mismatch | None:
    """What keeps this database from sending here; None when nothing does. At most two queries, and changes nothing."""
    return _mismatch(remembered_in(using), using)


def remembered_in(using: str) -> str | None:
    """The name that the database remembers."""
    return _rows(using).values_list("name", flat=True).first()


def remember(name: str, using: str, *, only_if_none: bool = False) -> None:
    """Let the database belong to the environment ``name``; to none when that is empty."""
    values: dict[str, Any] = {"name": name, "adopted_at": timezone.now()}
    if not name:
        _rows(using).delete()
    elif only_if_none:
        Environment.objects.using(using).get_or_create(pk=Environment.ONLY, defaults=values)
    else:
        Environment.objects.using(using).update_or_create(pk=Environment.ONLY, defaults=values)


def _mismatch(remembered: str | None, using: str) -> Mismatch | None:
    # Messenger states are made with the first deliveries, and no purge takes them.
    if not holds(remembered) or (remembered is None and not MessengerState.objects.using(using).exists()):
        return None
    return Mismatch(conf.current().ENVIRONMENT, remembered or "")


def _rows(using: str) -> QuerySet[Environment]:
    return Environment.objects.using(using).filter(pk=Environment.ONLY)
