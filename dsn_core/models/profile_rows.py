"""Copying addresses between the profiles of the version before and the rows of ``Address``, in pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.db import models, transaction

from dsn_core.models.sql import upsert

#: Rows that are read and written at once.
PAGE: Final = 1_000
#: Characters that a profile's column holds.
COLUMN_LENGTH: Final = 32
#: What a row of ``Address`` is found by.
KEY: Final = ("user", "messenger")


def copy_to_addresses(profile: Any, address: Any, columns: Mapping[str, str], using: str) -> int:
    """Have each address of a profile in a row, and no row where a profile has none; return how many rows were written.

    ``columns`` are the profile's columns by messenger. The models may be those of a migration. What agrees already is
    left alone, so that it can be done again, and goes on where it was broken off.
    """
    rows, written = address._base_manager.using(using), 0
    for page in _pages(profile._base_manager.using(using), "user_id", *set(columns.values())):
        with transaction.atomic(using=using):
            users = [row["user_id"] for row in page]
            stored = rows.filter(user__in=users, messenger__in=columns)
            known = {(row.user_id, row.messenger): row for row in stored}
            made, gone = [], []
            for messenger, column in columns.items():
                for row in page:
                    there, text = known.get((row["user_id"], messenger)), row[column].strip()
                    if text and (there is None or there.address != text):
                        made.append(address(user_id=row["user_id"], messenger=messenger, address=text))
                    # What the column could not hold, it does not speak of.
                    elif not text and there is not None and 0 < len(there.address) <= COLUMN_LENGTH:
                        gone.append(there.pk)
            upsert(rows, made, key=KEY, changed=["address", "verified_at"])
            rows.filter(pk__in=gone).delete()
            written += len(made) + len(gone)
    return written


def copy_to_profiles(profile: Any, address: Any, columns: Mapping[str, str], using: str) -> None:
    """The way back: have each row that a column can hold in its profile."""
    for messenger, column in columns.items():
        rows = address._base_manager.using(using).filter(messenger=messenger).exclude(address="")
        for page in _pages(rows, "user_id", "address"):
            made = [
                profile(user_id=row["user_id"], **{column: row["address"]})
                for row in page
                if len(row["address"]) <= COLUMN_LENGTH
            ]
            upsert(profile._base_manager.using(using), made, key=["user"], changed=[column])


def _pages(rows: models.QuerySet[Any], *columns: str) -> Iterator[Sequence[dict[str, Any]]]:
    """The ``columns`` of ``rows``, in the order of the primary key."""
    rest = rows.order_by("pk").values("pk", *columns)
    page = list(rest[:PAGE])
    while page:
        yield page
        page = list(rest.filter(pk__gt=page[-1]["pk"])[:PAGE])
