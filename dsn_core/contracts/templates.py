"""Message templates, plugin classes that make the message, and the interface of the engines that render them.

The engines are implemented in a higher layer, and registered here when Django starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from dsn_core.contracts.messages import Message
from dsn_core.contracts.naming import Named, check_name, overrides
from dsn_core.contracts.spans import parse_expiry
from dsn_core.exceptions import ConfigurationError, ContractError, RenderingError, UnknownName


class CompiledTemplate(Protocol):
    """A compiled template. Its parts are ``subject``, ``text`` and ``html``."""

    def parts(self, variables: dict[str, Any]) -> dict[str, str]:
        """Render, and return the parts that the template has, by name."""


class Engine(Protocol):
    """Compiles the source or the file of one message template."""

    def from_string(self, source: str, part: str) -> CompiledTemplate:
        """Compile ``source`` as ``part``. With ``""`` its blocks decide, or whether it looks like HTML."""

    def from_file(self, file_name: str) -> CompiledTemplate:
        """Compile the file ``file_name`` of the template folders."""


engines: dict[str, Engine] = {}


def engine(name: str) -> Engine:
    if not engines:
        raise ConfigurationError(
            "Message templates need Django to be set up with 'dsn_core' in INSTALLED_APPS before they can be rendered."
        )
    try:
        return engines[name]
    except KeyError:
        raise UnknownName("template engine", name, engines) from None


class BaseMessageTemplate(Named):
    """Makes the message, from a string or from a file.

    ::

        class MovieReleased(BaseMessageTemplate):
            \"\"\"A movie can be seen from now on.\"\"\"

            name = "movie_released"
            file_name = "cinema/movie_released.html"
            required_signal_args = ["movie"]

            def get_template_context(self, context):
                context["cinema"] = settings.CINEMA_NAME
                return context

    The source is ``file_name``, else ``template_string``. It can hold all parts as blocks (``{% block subject %}``,
    ``{% block text %}``, ``{% block html %}``) and extend a layout. Without such blocks the whole is one part: HTML
    when the file's name ends in ``.html`` or a string closes tags, else the text. ``subject``, ``text`` and ``html``
    are template sources of one part each, and override that part of the file or string.

    Variables are escaped in HTML, and not in the subject and the text. A missing text is made from the HTML.

    The template's variables are the signal's arguments; ``verb``, ``action_object``, ``actor_object`` and ``target``
    override them; ``user``, the receiver (None for a bare address), overrides both. All are also available as
    ``context.<name>``, and the arguments alone as ``signal_kwargs.<name>``.

    Register it with the ``dsn_message_templates`` hook.
    """

    #: ``"jinja2"`` or ``"django"`` (the Django template language).
    engine: ClassVar[str] = "jinja2"
    #: A file in a ``templates`` folder of the project, an app or the plugin.
    file_name: ClassVar[str] = ""
    #: The source itself.
    template_string: ClassVar[str] = ""
    subject: ClassVar[str] = ""
    text: ClassVar[str] = ""
    html: ClassVar[str] = ""
    #: Arguments that the signal must provide: a subscription to another signal is refused.
    required_signal_args: ClassVar[Sequence[str]] = ()
    #: What its messages are about, as names such as ``"orders"``: ``Message.topics``, for messengers that sort or label
    #: by it.
    topics: ClassVar[Sequence[str]] = ()
    #: How long after its event a message is still sent: ``"15m"``, ``"2h"``, ``"3d"``, ``"4w"``. Later it is skipped.
    #: Empty: it does not expire. A subscription's own ``expires`` overrides it.
    expires: ClassVar[str] = ""

    _compiled: ClassVar[dict[str, CompiledTemplate] | None] = None

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls._compiled = None

    def get_template_context(self, context: dict[str, Any]) -> dict[str, Any]:
        """Add variables to ``context``, a dict of this message only, and return it."""
        return context

    def render(
        self,
        user: Any = None,
        trigger_context: Mapping[str, Any] | None = None,
        signal_kwargs: Mapping[str, Any] | None = None,
    ) -> Message:
        """Render the message for ``user``.

        Raises :class:`~dsn_core.exceptions.RenderingError` when the template cannot be compiled; exceptions of its
        variables are raised as they are.
        """
        variables = self.variables(user, trigger_context or {}, signal_kwargs or {})
        parts: dict[str, str] = {}
        for compiled in self.compile().values():
            parts.update(compiled.parts(variables))
        return Message(
            parts.get("text", "").strip(),
            subject=parts.get("subject", ""),
            html=parts.get("html", "").strip(),
        )

    def variables(
        self, user: Any, trigger_context: Mapping[str, Any], signal_kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """All variables of the template, with those of ``get_template_context``."""
        # Last the names that no argument of the signal may override.
        context = {**signal_kwargs, **trigger_context, "user": user}
        context |= {"signal_kwargs": dict(signal_kwargs), "trigger_context": dict(trigger_context)}
        given = self.get_template_context(context)
        if not isinstance(given, dict):
            raise RenderingError(
                f"{type(self).__name__}.get_template_context() returned {type(given).__name__} instead of the context; "
                "does it end with 'return context'?"
            )
        return {**given, "context": given}

    @classmethod
    def compile(cls) -> dict[str, CompiledTemplate]:
        """The sources, compiled once per process: the file or string first, then single parts.

        Under ``DEBUG`` files are read again for each message, so that edits need no restart.

        Raises :class:`~dsn_core.exceptions.RenderingError`, naming the file or attribute.
        """
        if cls._compiled is not None:
            return cls._compiled
        chosen = engine(cls.engine)
        compiled: dict[str, CompiledTemplate] = {}
        if cls.file_name:
            compiled["file_name"] = chosen.from_file(cls.file_name)
        elif cls.template_string:
            compiled["template_string"] = chosen.from_string(cls.template_string, "")
        for part in ("subject", "text", "html"):
            if source := getattr(cls, part):
                compiled[part] = chosen.from_string(source, part)
        cls._compiled = compiled
        return compiled

    @classmethod
    def check_contract(cls) -> None:
        super().check_contract()
        sources = (cls.file_name, cls.template_string, cls.subject, cls.text, cls.html)
        where = f"{cls.__module__}.{cls.__qualname__}"
        if not any(sources) and not overrides(cls, BaseMessageTemplate, "render"):
            raise ContractError(f"{where} has no source: set file_name or template_string (or subject, text, html).")
        if engines and cls.engine not in engines:
            raise ContractError(f"{where}.engine is {cls.engine!r}; it is one of {', '.join(sorted(engines))}.")
        try:
            parse_expiry(cls.expires)
        except ConfigurationError as error:
            raise ContractError(f"{where}.expires: {error}") from error
        for attribute in ("required_signal_args", "topics"):
            if isinstance(value := getattr(cls, attribute), str):
                raise ContractError(f"{where}.{attribute} is the text {value!r}; it is a list of names: [{value!r}].")
        for topic in cls.topics:
            check_name(topic, f"a topic of {where}")
