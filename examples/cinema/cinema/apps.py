"""The app. Nothing of dsn-core is needed here: ``dsn_plugin.py`` is found by itself."""

from __future__ import annotations

from django.apps import AppConfig


class CinemaConfig(AppConfig):
    name = "cinema"
    verbose_name = "Cinema"
