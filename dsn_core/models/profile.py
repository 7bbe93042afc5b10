"""The built-in profile of the version before, kept for one release: its addresses are rows of ``Address`` now.

Processes of the version before read and write its table while a new version is rolled out, and a project may still read
``user.dsn_profile``. With the next release this module goes, and so do the lines of :mod:`dsn_core.models.address` that
name it.
"""

from __future__ import annotations

import warnings
from typing import Any, Final

from django.conf import settings
from django.db import models, router, transaction
from django.utils.translation import gettext_lazy as _

from dsn_core.models.address import Address
from dsn_core.models.profile_rows import COLUMN_LENGTH, KEY, copy_to_addresses
from dsn_core.models.sql import upsert

#: The messengers whose addresses the columns hold.
COLUMNS: Final = {"telegram": "telegram_chat_id", "sms": "phone"}


class ProfileQuerySet(models.QuerySet["Profile"]):
    def copy_to_addresses(self) -> int:
        """Follow what processes of the version before wrote; return how many addresses were stored or removed.

        To be called once, when the last of them has ended. Where a profile and an address differ, the profile wins:
        what this version writes, it writes to both.
        """
        return copy_to_addresses(self.model, Address, COLUMNS, self.db)


class Profile(models.Model):
    """Deprecated: a user's addresses for ``telegram`` and ``sms``, the same as in their rows of ``Address``."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="dsn_profile", verbose_name=_("user")
    )
    telegram_chat_id = models.CharField(_("Telegram chat id"), max_length=COLUMN_LENGTH, blank=True, db_index=True)
    phone = models.CharField(
        _("phone"),
        max_length=COLUMN_LENGTH,
        blank=True,
        db_index=True,
        help_text=_("With the country's code: +49 30 901820."),
    )

    objects = ProfileQuerySet.as_manager()

    class Meta:
        verbose_name = _("profile")
        verbose_name_plural = _("profiles")
        ordering = ["user"]

    def __str__(self) -> str:
        return str(self.user)

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save it, and store its addresses, where messengers look for them."""
        _warn()
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        only = kwargs.get("update_fields")
        rows = Address._base_manager.using(using)
        with transaction.atomic(using=using):
            # Always in this order: addresses, then profiles.
            for messenger, column in COLUMNS.items():
                if only is not None and column not in only:
                    continue
                text, stored = getattr(self, column).strip(), rows.filter(user=self.user_id, messenger=messenger)
                if not text:
                    stored.delete()
                elif not stored.filter(address=text).exists():
                    made = Address(user_id=self.user_id, messenger=messenger, address=text)
                    upsert(rows, [made], key=KEY, changed=["address", "verified_at"])
            super().save(*args, **kwargs)

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Profile:
        _warn()
        return super().from_db(*args, **kwargs)


def follow(users: Any, messenger: str, address: str, using: str) -> None:
    """Have ``address`` in the profiles of ``users``, which are keys or a subquery of them."""
    if (column := COLUMNS.get(messenger)) is None:
        return
    rows = Profile._base_manager.using(using)
    if 0 < len(address) <= COLUMN_LENGTH:
        upsert(rows, [Profile(user_id=key, **{column: address}) for key in users], key=["user"], changed=[column])
    else:
        rows.filter(user__in=users).update(**{column: ""})


def _warn() -> None:
    warnings.warn(
        "dsn_core.Profile and user.dsn_profile go with the next release of dsn-core. Users' addresses are rows of "
        "dsn_core.models.Address: store_address() and find_users() write and read them.",
        DeprecationWarning,
        stacklevel=3,
    )
