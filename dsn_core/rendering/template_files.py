"""Template files: their folders, and their reading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings

from dsn_core.contracts.templates import CompiledTemplate
from dsn_core.exceptions import RenderingError
from dsn_core.plugins.registry import registry


def template_dirs(*app_folders: str) -> list[Path]:
    """The folders of template files: the project's, then those of apps, then those of plugins that are no apps."""
    templates: list[dict[str, Any]] = settings.TEMPLATES
    project = [Path(folder) for config in templates for folder in config.get("DIRS") or ()]
    of_apps = [Path(config.path) / name for config in apps.get_app_configs() for name in app_folders]
    return [*dict.fromkeys(project), *(folder for folder in of_apps if folder.is_dir()), *registry.template_dirs()]


def whole_part(file_name: str) -> str:
    """The part that a file without blocks is, by its name."""
    plain = file_name.removesuffix(".jinja2").removesuffix(".jinja").removesuffix(".j2")
    return "html" if plain.endswith((".html", ".htm", ".xhtml")) else "text"


def not_found(name: str, *app_folders: str) -> RenderingError:
    """The error for a missing file ``name``, with the folders that were searched."""
    folders = ", ".join(str(folder) for folder in template_dirs(*app_folders))
    return RenderingError(f"There is no template file {name!r}. The template folders are: {folders or 'none'}.")


def compiled(read: Callable[[], CompiledTemplate]) -> CompiledTemplate:
    """The template that ``read`` compiles: once per process, and under ``DEBUG`` again for each message."""
    first = read()
    return _Reread(read) if settings.DEBUG else first


class _Reread:
    """A template whose file may be edited while the process runs."""

    def __init__(self, read: Callable[[], CompiledTemplate]) -> None:
        self._read = read

    def parts(self, variables: dict[str, Any]) -> dict[str, str]:
        return self._read().parts(variables)
