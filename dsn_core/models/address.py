"""Users' addresses: where one user is reached by one messenger."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import ProhibitNullCharactersValidator
from django.db import models, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dsn_core.contracts.naming import MAX_NAME_LENGTH
from dsn_core.exceptions import ConfigurationError
from dsn_core.models.delivery import ADDRESS_LENGTH
from dsn_core.models.profile_rows import KEY
from dsn_core.models.sql import upsert
from dsn_core.plugins.profiles import STORED_ADDRESS
from dsn_core.plugins.registry import registry


def refuse_surrogates(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValidationError(_("It holds half a character, which cannot be stored.")) from None


if TYPE_CHECKING:
    _CharField = models.CharField[str | None, str]
else:
    # Generic in the stubs only.
    _CharField = models.CharField


class AddressField(_CharField):
    """An address: without spaces around it, and equal to nothing but itself.

    MySQL and MariaDB compare texts without case and accents unless the column says otherwise, and ignore spaces at
    their end.
    """

    default_validators = [ProhibitNullCharactersValidator(), refuse_surrogates]

    def db_parameters(self, connection: BaseDatabaseWrapper) -> Any:
        parameters: dict[str, Any] = super().db_parameters(connection)
        return {**parameters, "collation": "utf8mb4_bin"} if connection.vendor == "mysql" else parameters

    def get_prep_value(self, value: Any) -> Any:
        found = super().get_prep_value(value)
        return found.strip() if isinstance(found, str) else found


class AddressQuerySet(models.QuerySet["Address"]):
    def store(self, user_id: Any, messenger: str, address: str, verified_at: datetime | None = None) -> None:
        """Have ``address`` in the row of this user and messenger. One statement: of two at once, the last one wins.

        An empty address stays in the row, and says that there is none.
        """
        row = Address(user_id=user_id, messenger=messenger, address=address, verified_at=verified_at)
        with transaction.atomic(using=self.db):
            upsert(self, [row], key=KEY, changed=["address", "verified_at"])
            _tell_profiles([user_id], messenger, address, self.db)

    def delete(self) -> tuple[int, dict[str, int]]:
        from dsn_core.models import profile

        with transaction.atomic(using=self.db):
            for messenger in profile.COLUMNS:
                profile.follow(self.filter(messenger=messenger).order_by().values("user"), messenger, "", self.db)
            return super().delete()

    # As Django's own: no manager has it, so that no slip deletes all rows.
    delete.queryset_only = True  # type: ignore[attr-defined]


class Address(models.Model):
    """Where one user is reached by one messenger, or by one account of it."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        # The constraint's index begins with it.
        db_index=False,
        related_name="dsn_addresses",
        verbose_name=gettext_lazy("user"),
    )
    messenger = models.CharField(
        gettext_lazy("messenger"),
        max_length=MAX_NAME_LENGTH,
        help_text=gettext_lazy("One that keeps its addresses here, or an account of it."),
    )
    address = AddressField(
        gettext_lazy("address"),
        max_length=ADDRESS_LENGTH,
        blank=True,
        help_text=gettext_lazy(
            "Empty: it does not reach the user, and an account does not read its messenger's address instead."
        ),
    )
    verified_at = models.DateTimeField(
        gettext_lazy("verified"),
        null=True,
        blank=True,
        help_text=gettext_lazy("When the user showed that the address is theirs."),
    )

    objects = AddressQuerySet.as_manager()

    class Meta:
        verbose_name = gettext_lazy("user's address")
        verbose_name_plural = gettext_lazy("users' addresses")
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["user", "messenger"], name="dsn_address_of_user")]
        indexes = [models.Index(fields=["messenger", "address"], name="dsn_address_found")]

    def __str__(self) -> str:
        return f"{self.messenger}: {self.address}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            super().save(*args, **kwargs)
            _tell_profiles([self.user_id], self.messenger, self.address, using)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        using = kwargs.get("using") or router.db_for_write(type(self), instance=self)
        with transaction.atomic(using=using):
            done = super().delete(*args, **kwargs)
            _tell_profiles([self.user_id], self.messenger, "", using)
        return done

    def clean(self) -> None:
        try:
            path = registry.address_path(self.messenger)
        except ConfigurationError as error:
            raise ValidationError({"messenger": str(error)}) from error
        if path == STORED_ADDRESS:
            return
        said = _("%(messenger)s reads users' addresses from %(path)s: what stands here would not be used.")
        nothing = _("%(messenger)s keeps no addresses here: what stands here would not be used.")
        names = {"messenger": self.messenger, "path": path}
        raise ValidationError({"messenger": (said if path else nothing) % names})


def _tell_profiles(users: Any, messenger: str, address: str, using: str) -> None:
    """Until the profiles are gone, they say the same. ``users`` are keys, or a subquery of them."""
    from dsn_core.models import profile

    profile.follow(users, messenger, address, using)
