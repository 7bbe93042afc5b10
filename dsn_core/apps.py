"""The app: loads the plugins and hooks the triggers in."""

from __future__ import annotations

import contextlib

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DsnCoreConfig(AppConfig):
    name = "dsn_core"
    label = "dsn_core"
    verbose_name = _("Notifications")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Load the plugins and connect to Django. Runs no query: the database may not be there yet."""
        from dsn_core import checks, conf
        from dsn_core.exceptions import ConfigurationError
        from dsn_core.pipeline import rendering
        from dsn_core.plugins.registry import registry
        from dsn_core.triggers import dispatcher

        rendering.install_engines()
        registry.load()
        checks.register_all()
        dispatcher.install()
        with contextlib.suppress(ConfigurationError):
            # It listens to requests from the first one on. One that is not installed is a check's matter.
            registry.runner(conf.current().RUNNER)
