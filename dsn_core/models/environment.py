"""The environment that a database belongs to."""

from __future__ import annotations

from typing import Final

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dsn_core.conf import MAX_ENVIRONMENT


class Environment(models.Model):
    """The name that ``DSN["ENVIRONMENT"]`` had when this database was adopted: one row, or none.

    It is part of every copy of the database, and so tells a copy from the original.
    """

    #: The key of the one row.
    ONLY: Final = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    name = models.CharField(_("name"), max_length=MAX_ENVIRONMENT)
    adopted_at = models.DateTimeField(_("adopted"), default=timezone.now)

    class Meta:
        verbose_name = _("environment")
        verbose_name_plural = _("environments")

    def __str__(self) -> str:
        return self.name
