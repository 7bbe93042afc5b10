"""Django Tasks, wherever it comes from: Django itself from 6.0 on, before that the django-tasks backport.

The rest of dsn-core sees the names of this module only. Importing it raises ``ModuleNotFoundError``
where there is neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final

import django

_PACKAGE: Final = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
_tasks: Any = import_module(_PACKAGE)

#: Makes a task of a function.
task: Any = _tasks.task
#: The backends that run nothing apart from the caller.
ImmediateBackend: type = import_module(f"{_PACKAGE}.backends.immediate").ImmediateBackend
DummyBackend: type = import_module(f"{_PACKAGE}.backends.dummy").DummyBackend


def default_backend() -> Any:
    """The backend that ``TASKS["default"]`` names. Raises when it cannot be made."""
    return _tasks.task_backends[_tasks.DEFAULT_TASK_BACKEND_ALIAS]
