"""The built-in message template."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from dsn_core.contracts.templates import BaseMessageTemplate
from dsn_core.payload.placeholders import TYPE, Placeholder, kind_of, type_of


class SimpleMessageTemplate(BaseMessageTemplate):
    """Says verb, action object, actor and target of any event."""

    name = "simple"
    file_name = "dsn_core/simple.txt"

    def get_template_context(self, context: dict[str, Any]) -> dict[str, Any]:
        subject = context.get("action_object")
        if isinstance(subject, type):
            # A sender, where the signal has no instance: a class prints worse than its name.
            context["action_object"] = subject._meta.verbose_name if issubclass(subject, Model) else subject.__name__
        elif isinstance(subject, Placeholder) and kind_of(subject) == TYPE:
            # A sender whose text is not stored: its type is enough here.
            context["action_object"] = type_of(subject)
        return context
