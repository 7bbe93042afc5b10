"""Rendering: template engines, template files, and the receiver's language and time zone."""

from __future__ import annotations

from dsn_core.contracts.templates import engines
from dsn_core.rendering.django_engine import DjangoEngine
from dsn_core.rendering.jinja2_engine import Jinja2Engine


def install_engines() -> None:
    """Register the engines for message templates. They are built at their first use."""
    engines.update(jinja2=Jinja2Engine(), django=DjangoEngine())
