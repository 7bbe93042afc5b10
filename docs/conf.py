"""Sphinx's settings. ``nox -s docs`` builds the documentation; warnings are errors."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import django
from django.conf import settings
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# Autodoc imports the models, which need Django set up. No database is opened.
settings.configure(
    SECRET_KEY="only-for-the-documentation",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "dsn_core"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DSN={"PLUGINS": []},
    USE_TZ=True,
)
django.setup()

project = "dsn-core"
author = "the dsn-core maintainers"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
version = ".".join(release.split(".")[:2])

extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"

html_theme = "furo"
COLOURED = ("color-brand-primary", "color-brand-content", "color-api-name", "color-api-pre-name")
html_title = f"dsn-core {release}"
html_static_path = ["_static"]
html_css_files = ["dsn.css"]
html_show_sphinx = False
html_show_copyright = False
html_theme_options: dict[str, object] = {
    "light_css_variables": dict.fromkeys(COLOURED, "#35618e"),
    "dark_css_variables": dict.fromkeys(COLOURED, "#9cc7f2"),
    # Links to a host of the sources would need its name here; there is none yet.
    "top_of_page_buttons": [],
}
pygments_style = "friendly"
pygments_dark_style = "monokai"


#: ``name``   what it means, in a column of its own
COLUMN = re.compile(r"^(``[^`]+``)\s{2,}(\S.*)$")


def lists_of_names(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Make definition lists of docstrings' columns, which are written for those who read the source."""
    made: list[str] = []
    inside = False
    for line in lines:
        found = COLUMN.match(line)
        if found:
            if not inside:
                made.append("")
            made += [found[1], f"    {found[2]}"]
            inside = True
        elif inside and line.startswith(" "):
            made.append(f"    {line.strip()}")
        else:
            if inside and line.strip():
                made.append("")
            inside = False
            made.append(line)
    lines[:] = made


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", lists_of_names)
