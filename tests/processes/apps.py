"""The app."""

from __future__ import annotations

from django.apps import AppConfig


class ProcessesConfig(AppConfig):
    name = "tests.processes"
    label = "tests_processes"
