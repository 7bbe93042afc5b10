"""Message templates in Jinja2."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import functools
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import jinja2
from django.conf import settings
from django.core.exceptions import ObjectDoesNotExist
from django.urls import reverse
from django.utils.formats import localize
from django.utils.timezone import template_localtime  # type: ignore[attr-defined]
from django.utils.translation import gettext, ngettext, npgettext, pgettext
from jinja2 import nodes

from dsn_core.contracts.messages import looks_like_html
from dsn_core.contracts.messengers import PARTS
from dsn_core.contracts.templates import CompiledTemplate
from dsn_core.exceptions import RenderingError
from dsn_core.payload.placeholders import Placeholder, refused
from dsn_core.plugins.registry import registry
from dsn_core.rendering.template_files import compiled, not_found, template_dirs, whole_part

FOLDERS = ("templates", "jinja2")
#: Jinja2's errors about sources, not about the values of variables.
_OF_SOURCES: Final = (jinja2.TemplateNotFound, jinja2.TemplateSyntaxError)


class Jinja2Engine:
    """Jinja2 with two environments, since escaping is decided when a template is compiled."""

    @cached_property
    def html(self) -> jinja2.Environment:
        return _environment(autoescape=True)

    @cached_property
    def text(self) -> jinja2.Environment:
        return _environment(autoescape=False)

    def from_string(self, source: str, part: str) -> CompiledTemplate:
        whole = part or ("html" if looks_like_html(source) else "text")
        with _explained("The template"):
            pair = (self.html.from_string(source), self.text.from_string(source))
            return _Jinja2Template(*pair, whole, blocks=not part, tree=self.text.parse(source))

    def from_file(self, file_name: str) -> CompiledTemplate:
        return compiled(lambda: self._read(file_name))

    def _read(self, file_name: str) -> CompiledTemplate:
        with _explained(f"The file {file_name!r}"):
            pair = (self.html.get_template(file_name), self.text.get_template(file_name))
            source = Path(str(pair[1].filename)).read_text(encoding="utf-8")
            return _Jinja2Template(*pair, whole_part(file_name), blocks=True, tree=self.text.parse(source))


def _environment(*, autoescape: bool) -> jinja2.Environment:
    environment = _Environment(
        autoescape=autoescape,
        loader=jinja2.FileSystemLoader(template_dirs(*FOLDERS)),
        extensions=["jinja2.ext.i18n"],
        auto_reload=settings.DEBUG,
        finalize=_present,
    )
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        gettext, ngettext, newstyle=True, pgettext=pgettext, npgettext=npgettext
    )
    environment.globals["url"] = lambda name, *args, **kwargs: reverse(name, args=args, kwargs=kwargs)
    registry.prepare_jinja2(environment)
    for name in environment.tests.keys() - _NOT_USING_VALUES:
        environment.tests[name] = _refusing_placeholders(environment.tests[name])
    return environment


#: Tests that are right for a value that was not stored, too: it is defined, and not None.
_NOT_USING_VALUES: Final = frozenset({"defined", "undefined", "none", "filter", "test"})


def _refusing_placeholders(test: Any) -> Callable[..., Any]:
    """``test``, which raises for a value that was not stored."""

    @functools.wraps(test)
    def checked(*args: Any) -> Any:
        for value in args:
            if isinstance(value, Placeholder):
                bool(value)
        return test(*args)

    return checked


class _MissingRow(jinja2.ChainableUndefined):
    """A deleted row: undefined, like each of its attributes, as in Django's templates."""


class _Environment(jinja2.Environment):
    """Makes relations to deleted rows undefined."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        try:
            return super().getattr(obj, attribute)
        except ObjectDoesNotExist:
            return _MissingRow(obj=obj, name=attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        try:
            return super().getitem(obj, argument)
        except ObjectDoesNotExist:
            return _MissingRow(obj=obj, name=argument)


class _Jinja2Template:
    def __init__(
        self, html: jinja2.Template, text: jinja2.Template, whole: str, *, blocks: bool, tree: nodes.Template
    ) -> None:
        for template in (html, text):
            # A chain of mappings, which Jinja2 would flatten for each message.
            template.globals = dict(template.globals)
        self._templates = {"html": html, "text": text, "subject": text}
        self._whole = whole
        extends = tree.find(nodes.Extends) is not None
        self._has_blocks = blocks and (extends or any(name in text.blocks for name in PARTS))
        # Statements outside of the blocks: layouts, assignments, imports and macros for the blocks.
        self._prepares = any(not isinstance(node, nodes.Block | nodes.Output) for node in tree.body)

    def parts(self, variables: dict[str, Any]) -> dict[str, str]:
        with refused():
            try:
                if self._has_blocks and (found := self._blocks(variables)):
                    return found
                template = self._templates[self._whole]
                return {self._whole: "".join(template.root_render_func(template.new_context(variables)))}
            except _OF_SOURCES as error:
                raise _explanation(error, "A file that the template extends or includes") from error

    def _blocks(self, variables: dict[str, Any]) -> dict[str, str]:
        text = self._context("text", variables)
        found = [name for name in PARTS if name in text.blocks]
        html = self._context("html", variables) if "html" in found else text
        contexts = {"subject": text, "text": text, "html": html}
        return {name: "".join(contexts[name].blocks[name][0](contexts[name])) for name in found}

    def _context(self, kind: str, variables: dict[str, Any]) -> jinja2.runtime.Context:
        template = self._templates[kind]
        context = template.new_context(variables)
        if self._prepares:
            # Running the whole template collects the blocks of the layouts and the names that blocks may use. The
            # parts are left out here: each is rendered once, below.
            mine = {name: context.blocks[name] for name in PARTS if name in context.blocks}
            context.blocks.update((name, [_nothing]) for name in mine)
            for _output in template.root_render_func(context):
                pass
            context.blocks.update((name, [*stack, *context.blocks[name][1:]]) for name, stack in mine.items())
        return context


def _nothing(context: jinja2.runtime.Context) -> Iterator[str]:
    return iter(())


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn Jinja2's errors about a template's source into sentences for its author."""
    try:
        yield
    except _OF_SOURCES as error:
        raise _explanation(error, what) from error


def _explanation(error: jinja2.TemplateNotFound | jinja2.TemplateSyntaxError, what: str) -> Exception:
    if isinstance(error, jinja2.TemplatesNotFound):
        return not_found(" or ".join(map(str, error.templates)), *FOLDERS)
    if isinstance(error, jinja2.TemplateNotFound):
        return not_found(str(error.name), *FOLDERS)
    where = f"The file {error.name!r}" if error.name else what
    return RenderingError(
        f"{where} is no valid Jinja2 at line {error.lineno}: {str(error.message).rstrip('.')}. "
        'If it is written in the Django template language, set engine = "django".'
    )


#: Types that are written differently in different languages and countries.
_LOCALIZED: Final = (datetime.date, datetime.time, float, decimal.Decimal)


@jinja2.pass_context
def _present(context: jinja2.runtime.Context, value: Any) -> Any:
    """``value`` as it is shown: dates and numbers in the receiver's language and time zone.

    The context is not used, but without it Jinja2 would evaluate constants only once, at compile time.
    """
    if isinstance(value, _LOCALIZED):
        return localize(template_localtime(value))
    return value
