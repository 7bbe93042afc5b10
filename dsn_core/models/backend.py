"""Backends: a messenger with a message template."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from dsn_core.contracts.naming import MAX_NAME_LENGTH
from dsn_core.exceptions import UnknownName
from dsn_core.plugins.kinds import MESSAGE_TEMPLATES
from dsn_core.plugins.registry import registry


class BackendQuerySet(models.QuerySet["Backend"]):
    def define(self, messenger: str, message_template: str) -> Backend:
        """The backend of these two names, created when it is missing.

        Raises ``ValidationError`` when nothing installed has one of the names.
        """
        backend = self.model(messenger=messenger, message_template=message_template)
        backend.clean_fields()
        backend.clean()
        found, _created = self.get_or_create(messenger=messenger, message_template=message_template)
        return found


class Backend(models.Model):
    """What and how: one messenger and one message template, by the names in their plugins."""

    messenger = models.CharField(
        _("messenger"), max_length=MAX_NAME_LENGTH, help_text=_("A messenger, or an account of one.")
    )
    message_template = models.CharField(_("message template"), max_length=MAX_NAME_LENGTH)

    objects = BackendQuerySet.as_manager()

    class Meta:
        verbose_name = _("backend")
        verbose_name_plural = _("backends")
        ordering = ["messenger", "message_template"]
        constraints = [
            models.UniqueConstraint(fields=["messenger", "message_template"], name="dsn_backend_unique"),
        ]

    def __str__(self) -> str:
        return str(
            _("%(template)s by %(messenger)s") % {"template": self.message_template, "messenger": self.messenger}
        )

    def clean(self) -> None:
        if problems := self.not_installed():
            raise ValidationError({field: str(error) for field, error in problems.items()})

    def not_installed(self) -> dict[str, UnknownName]:
        """The errors for its names that nothing installed has, by field."""
        found: dict[str, UnknownName] = {}
        try:
            registry.messenger_class(self.messenger)
        except UnknownName as error:
            found["messenger"] = error
        try:
            registry.find(MESSAGE_TEMPLATES, self.message_template)
        except UnknownName as error:
            found["message_template"] = error
        return found

    def required_signal_args(self) -> tuple[str, ...]:
        """The arguments that its message template needs of a signal; none while the template is not installed."""
        try:
            template: Any = registry.find(MESSAGE_TEMPLATES, self.message_template)
        except UnknownName:
            return ()
        return tuple(template.required_signal_args)

    def accepts(self, messenger: str) -> bool:
        """Whether this backend sends to addresses of ``messenger``: its own name, or its account's messenger."""
        if messenger in ("", self.messenger):
            return True
        try:
            return registry.messenger_class(self.messenger).name == messenger
        except UnknownName:
            return False
