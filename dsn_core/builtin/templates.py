"""The built-in message template."""

from __future__ import annotations

from dsn_core.contracts.templates import BaseMessageTemplate


class SimpleMessageTemplate(BaseMessageTemplate):
    """Says verb, action object, actor and target of any event."""

    name = "simple"
    file_name = "dsn_core/simple.txt"
