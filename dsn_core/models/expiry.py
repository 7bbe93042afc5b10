"""The column that says how long after its event a message is sent."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from dsn_core.contracts.spans import MAX_SPAN_LENGTH, parse_expiry
from dsn_core.exceptions import ConfigurationError


def check_expiry(text: str) -> None:
    try:
        parse_expiry(text)
    except ConfigurationError as error:
        raise ValidationError(
            _("%s is no span of time in which a message can be sent: write 90s, 15m, 2h, 30d or 4w.") % repr(text)
        ) from error


def expiry_field() -> models.CharField[Any, Any]:
    """A span such as ``"2d"``; empty for none."""
    return models.CharField(
        _("expires"),
        max_length=MAX_SPAN_LENGTH,
        blank=True,
        default="",
        # Processes of the previous version do not know the column.
        db_default="",
        validators=[check_expiry],
        help_text=_(
            "So long after the event a message is old news, and not sent any more: 15m, 2h, 3d, 4w. "
            "Empty: as its message template says, if it does."
        ),
    )
