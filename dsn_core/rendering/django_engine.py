"""Message templates in the Django template language."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from django.conf import settings
from django.template import Context, Engine, Template, TemplateDoesNotExist, TemplateSyntaxError
from django.template import engines as django_engines
from django.template.backends.django import DjangoTemplates, get_installed_libraries
from django.template.loader_tags import BLOCK_CONTEXT_KEY, BlockContext, BlockNode, ExtendsNode

from dsn_core.contracts.messages import looks_like_html
from dsn_core.contracts.messengers import PARTS
from dsn_core.contracts.templates import CompiledTemplate
from dsn_core.exceptions import RenderingError
from dsn_core.payload.placeholders import refused
from dsn_core.rendering.template_files import compiled, not_found, template_dirs, whole_part

FOLDERS = ("templates",)


class DjangoEngine:
    """The Django template language, with the tags and filters of the project's templates."""

    @cached_property
    def engine(self) -> Engine:
        project = next((item.engine for item in django_engines.all() if isinstance(item, DjangoTemplates)), None)
        files = "django.template.loaders.filesystem.Loader"
        return Engine(
            dirs=[str(folder) for folder in template_dirs(*FOLDERS)],
            app_dirs=False,
            # In production a layout must not be parsed again for every message. Under DEBUG it may be edited: Django
            # would cache it even then, and clear that cache in runserver only.
            loaders=[files] if settings.DEBUG else [("django.template.loaders.cached.Loader", [files])],
            libraries=project.libraries if project else get_installed_libraries(),
            builtins=[name for name in project.builtins if name not in Engine.default_builtins] if project else [],
        )

    def from_string(self, source: str, part: str) -> CompiledTemplate:
        whole = part or ("html" if looks_like_html(source) else "text")
        with _explained("The template"):
            return _DjangoTemplate(self.engine.from_string(source), whole, blocks=not part)

    def from_file(self, file_name: str) -> CompiledTemplate:
        return compiled(lambda: self._read(file_name))

    def _read(self, file_name: str) -> CompiledTemplate:
        with _explained(f"The file {file_name!r}"):
            return _DjangoTemplate(self.engine.get_template(file_name), whole_part(file_name), blocks=True)


class _DjangoTemplate:
    def __init__(self, template: Template, whole: str, *, blocks: bool) -> None:
        self._template = template
        self._whole = whole
        self._blocks = blocks

    def parts(self, variables: Mapping[str, Any]) -> dict[str, str]:
        found: dict[str, str] = {}
        # Django's tags and operators swallow what a value raises.
        with refused(), _explained("A file that the template extends or includes"):
            for name in PARTS if self._blocks else ():
                if (rendered := self._render_block(name, variables)) is not None:
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
                nodes: list[Any] = template.nodelist.get_nodes_by_type(BlockNode)
                blocks.add_blocks({node.name: node for node in nodes})
                parents: list[Any] = template.nodelist.get_nodes_by_type(ExtendsNode)
                template = parents[0].get_parent(context) if parents else None
            context.render_context[BLOCK_CONTEXT_KEY] = blocks
            block = blocks.get_block(name)
            return None if block is None else str(block.render(context))


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turn Django's errors about a template's source into sentences for its author."""
    try:
        yield
    except TemplateDoesNotExist as error:
        raise not_found(str(error), *FOLDERS) from error
    except TemplateSyntaxError as error:
        raise RenderingError(f"{what} is no valid Django template: {error}") from error
