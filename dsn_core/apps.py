"""The app: loads the plugins and hooks the triggers in."""

from __future__ import annotations

import logging

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

logger = logging.getLogger("dsn_core")


class DsnCoreConfig(AppConfig):
    name = "dsn_core"
    label = "dsn_core"
    verbose_name = _("Notifications")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Load the plugins and connect to Django. Runs no query: the database may not be there yet."""
        from dsn_core import checks, conf
        from dsn_core.exceptions import UnknownName
        from dsn_core.plugins.registry import registry
        from dsn_core.rendering import install_engines
        from dsn_core.triggers import refresh_hooks

        install_engines()
        registry.load()
        checks.register_all()
        refresh_hooks.install()
        name = conf.current().RUNNER
        try:
            # Now, because a runner may have to hear of the first request already.
            registry.runner(name)
        except UnknownName:
            logger.debug("The runner %r is not installed; the system check dsn.W004 says so.", name)
        except KeyboardInterrupt:
            raise
        except BaseException:
            logger.exception("The runner %r cannot be made; messages wait for a worker.", name)
