"""The built-in message template."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from dsn_core.contracts.templates import BaseMessageTemplate


class SimpleMessageTemplate(BaseMessageTemplate):
    """Says verb, action object, actor and target of any event."""

    name = "simple"
    file_name = "dsn_core/simple.txt"

    def get_template_context(self, context: dict[str, Any]) -> dict[str, Any]:
        subject = context.get("action_object")
        if isinstance(subject, type):
            # A sender, where the signal has no instance: its name says more than its class would.
            context["action_object"] = subject._meta.verbose_name if issubclass(subject, Model) else subject.__name__
        return context
