"""The two template engines, and the receiver's language and time zone."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import zoneinfo
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jinja2
from django.apps import apps
from django.conf import settings
from django.template import Context, Engine, Template, TemplateDoesNotExist, TemplateSyntaxError
from django.template import engines as django_engines
from django.template.backends.django import DjangoTemplates, get_installed_libraries
from django.template.loader_tags import BLOCK_CONTEXT_KEY, BlockContext, BlockNode, ExtendsNode
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.formats import localize
from django.utils.timezone import template_localtime
from django.utils.translation import gettext, ngettext

from dsn_core import conf
from dsn_core.contracts import engines
from dsn_core.contracts.messages import looks_like_html
from dsn_core.contracts.messengers import PARTS
from dsn_core.contracts.paths import follow
from dsn_core.exceptions import RenderingError
from dsn_core.plugins.registry import registry


def install_engines() -> None:
    """Make the engines known to message templates. They are built when they are first used."""
    engines.engines.update(jinja2=Jinja2Engine(), django=DjangoEngine())


@contextlib.contextmanager
def locale_of(user: Any) -> Iterator[None]:
    """The language and time zone of ``user``, or the site's: never those of whoever fired the signal."""
    chosen = conf.current()
    language = _preference(user, chosen.LANGUAGE_PATH) or settings.LANGUAGE_CODE
    zone = _preference(user, chosen.TIME_ZONE_PATH)
    # Overriding with None is the site's own time zone.
    with translation.override(language), timezone.override(zoneinfo.ZoneInfo(zone) if zone else None):
        yield


def _preference(user: Any, path: str) -> str:
    value = follow(user, path) if path and user is not None else None
    return str(value) if value else ""


def whole_part(file_name: str) -> str:
    """Which part a file without blocks is, by its name."""
    plain = file_name.removesuffix(".jinja2").removesuffix(".jinja").removesuffix(".j2")
    return "html" if plain.endswith((".html", ".htm", ".xhtml")) else "text"


def template_dirs(*app_folders: str) -> list[Path]:
    """Where template files are looked for: the project's folders, then apps, then plugins that are no apps."""
    project = [Path(folder) for config in settings.TEMPLATES for folder in config.get("DIRS", ())]
    of_apps = [Path(config.path) / name for config in apps.get_app_configs() for name in app_folders]
    return [*dict.fromkeys(project), *(folder for folder in of_apps if folder.is_dir()), *registry.template_dirs()]


class Jinja2Engine:
    """Jinja2, in two environments: escaping is decided when a template is compiled."""

    @cached_property
    def html(self) -> jinja2.Environment:
        return self._environment(autoescape=True)

    @cached_property
    def text(self) -> jinja2.Environment:
        return self._environment(autoescape=False)

    def _environment(self, *, autoescape: bool) -> jinja2.Environment:
        environment = jinja2.Environment(
            autoescape=autoescape,
            loader=jinja2.FileSystemLoader(template_dirs("templates", "jinja2")),
            extensions=["jinja2.ext.i18n"],
            auto_reload=False,
            finalize=_present,
        )
        environment.install_gettext_callables(gettext, ngettext, newstyle=True)  # type: ignore[attr-defined]
        environment.globals["url"] = _url
        registry.prepare_jinja2(environment)
        return environment

    def from_string(self, source: str, part: str) -> engines.CompiledTemplate:
        whole = part or ("html" if looks_like_html(source) else "text")
        try:
            pair = (self.html.from_string(source), self.text.from_string(source))
            return _Jinja2Template(*pair, whole, blocks=not part, tree=self.text.parse(source))
        except jinja2.TemplateError as error:
            raise RenderingError(_jinja2_complaint("The template", error)) from error

    def from_file(self, file_name: str) -> engines.CompiledTemplate:
        try:
            pair = (self.html.get_template(file_name), self.text.get_template(file_name))
            source = Path(str(pair[1].filename)).read_text(encoding="utf-8")
            return _Jinja2Template(*pair, whole_part(file_name), blocks=True, tree=self.text.parse(source))
        except jinja2.TemplateNotFound as error:
            raise RenderingError(_not_found(str(error.name))) from error
        except jinja2.TemplateError as error:
            raise RenderingError(_jinja2_complaint(f"The file {file_name!r}", error)) from error


class _Jinja2Template:
    #: Statements outside of blocks that blocks may depend on.
    _PREPARING = (jinja2.nodes.Extends, jinja2.nodes.Assign, jinja2.nodes.AssignBlock, jinja2.nodes.Macro,
                  jinja2.nodes.Import, jinja2.nodes.FromImport)  # fmt: skip

    def __init__(
        self, html: jinja2.Template, text: jinja2.Template, whole: str, *, blocks: bool, tree: jinja2.nodes.Template
    ) -> None:
        self._templates = {"html": html, "text": text, "subject": text}
        self._whole = whole
        self._prepares = any(isinstance(node, self._PREPARING) for node in tree.body)
        extends = any(isinstance(node, jinja2.nodes.Extends) for node in tree.body)
        self._has_blocks = blocks and (extends or any(name in text.blocks for name in PARTS))

    def parts(self, variables: Mapping[str, Any]) -> dict[str, str]:
        if not self._has_blocks:
            return {self._whole: self._templates[self._whole].render(variables)}
        text = self._context(self._templates["text"], variables)
        found = [name for name in PARTS if name in text.blocks]
        html = self._context(self._templates["html"], variables) if "html" in found else text
        if not found:
            return {self._whole: self._templates[self._whole].render(variables)}
        return {name: _jinja2_block(html if name == "html" else text, name) for name in found}

    def _context(self, template: jinja2.Template, variables: Mapping[str, Any]) -> jinja2.runtime.Context:
        context = template.new_context(dict(variables))
        if self._prepares:
            # Running the whole is what collects the blocks of the layouts, and what blocks may use.
            for _output in template.root_render_func(context):
                pass
        return context


def _jinja2_block(context: jinja2.runtime.Context, name: str) -> str:
    return "".join(context.blocks[name][0](context))


def _jinja2_complaint(what: str, error: jinja2.TemplateError) -> str:
    line = getattr(error, "lineno", None)
    where = f" at line {line}" if line else ""
    return (
        f"{what} is no valid Jinja2{where}: {error.message}. If it is written in the Django template language, "
        'set engine = "django".'
    )


def _not_found(name: str) -> str:
    folders = ", ".join(str(folder) for folder in template_dirs("templates", "jinja2"))
    return f"There is no template file {name!r}. The template folders are: {folders or 'none'}."


def _present(value: Any) -> Any:
    """What a variable shows: dates and numbers as the receiver's language and time zone write them."""
    if isinstance(value, datetime.datetime | datetime.date | datetime.time | float | decimal.Decimal):
        return localize(template_localtime(value))  # type: ignore[arg-type]
    return value


def _url(name: str, *args: Any, **kwargs: Any) -> str:
    return reverse(name, args=args, kwargs=kwargs)


class DjangoEngine:
    """The Django template language, with the tags and filters that the project's own templates have."""

    @cached_property
    def engine(self) -> Engine:
        project = next((item.engine for item in django_engines.all() if isinstance(item, DjangoTemplates)), None)
        return Engine(
            dirs=[str(folder) for folder in template_dirs("templates")],
            app_dirs=False,
            loaders=["django.template.loaders.filesystem.Loader"],
            libraries=project.libraries if project else get_installed_libraries(),
            builtins=[name for name in project.builtins if name not in Engine.default_builtins] if project else [],
        )

    def from_string(self, source: str, part: str) -> engines.CompiledTemplate:
        whole = part or ("html" if looks_like_html(source) else "text")
        try:
            return _DjangoTemplate(self.engine.from_string(source), whole, blocks=not part)
        except TemplateSyntaxError as error:
            raise RenderingError(f"The template is no valid Django template: {error}.") from error

    def from_file(self, file_name: str) -> engines.CompiledTemplate:
        try:
            return _DjangoTemplate(self.engine.get_template(file_name), whole_part(file_name), blocks=True)
        except TemplateDoesNotExist as error:
            raise RenderingError(_not_found(str(error))) from error
        except TemplateSyntaxError as error:
            raise RenderingError(f"The file {file_name!r} is no valid Django template: {error}.") from error


class _DjangoTemplate:
    def __init__(self, template: Template, whole: str, *, blocks: bool) -> None:
        self._template = template
        self._whole = whole
        self._blocks = blocks

    def parts(self, variables: Mapping[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        if self._blocks:
            for name in PARTS:
                rendered = self._render_block(name, variables)
                if rendered is not None:
                    found[name] = rendered
        return found or {self._whole: self._template.render(self._context(self._whole, variables))}

    @staticmethod
    def _context(part: str, variables: Mapping[str, Any]) -> Context:
        return Context(dict(variables), autoescape=part == "html")

    def _render_block(self, name: str, variables: Mapping[str, Any]) -> str | None:
        context = self._context(name, variables)
        with context.render_context.push_state(self._template), context.bind_template(self._template):
            blocks = BlockContext()
            template: Template | None = self._template
            while template is not None:
                blocks.add_blocks({node.name: node for node in template.nodelist.get_nodes_by_type(BlockNode)})
                parent = next(iter(template.nodelist.get_nodes_by_type(ExtendsNode)), None)
                template = parent.get_parent(context) if parent else None
            context.render_context[BLOCK_CONTEXT_KEY] = blocks
            block = blocks.get_block(name)
            return None if block is None else str(block.render(context))

