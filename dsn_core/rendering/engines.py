"""The template engines, and where template files are."""

from __future__ import annotations

from dsn_core.contracts import engines
from dsn_core.rendering.django_engine import DjangoEngine
from dsn_core.rendering.jinja2_engine import Jinja2Engine


def install_engines() -> None:
    """Make the engines known to message templates. They are built when they are first used."""
    engines.engines.update(jinja2=Jinja2Engine(), django=DjangoEngine())
