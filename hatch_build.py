"""Build hook: compiles the translations, so that wheels and editable installs have them.

Git keeps the ``.po`` files only. Each gets its ``.mo`` beside it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface[Any]):
    """Runs before hatchling collects the files of a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile every ``.po`` file of the package."""
        for source in sorted(Path(self.root).glob("dsn_*/locale/*/LC_MESSAGES/*.po")):
            compile_catalogue(source)


def compile_catalogue(source: Path) -> Path:
    """Compile one ``.po`` file, and return its ``.mo``."""
    with source.open("rb") as lines:
        catalogue = read_po(lines, abort_invalid=True)
    target = source.with_suffix(".mo")
    # A name of its own until it is whole: builds may run side by side.
    unfinished = target.with_suffix(f".{os.getpid()}.tmp")
    with unfinished.open("wb") as compiled:
        write_mo(compiled, catalogue)
    unfinished.replace(target)
    return target
