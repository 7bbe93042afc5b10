"""Message templates in both engines."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
from django.utils import timezone, translation

from dsn_core import BaseMessageTemplate, hookimpl
from dsn_core.contracts.templates import engines
from dsn_core.exceptions import RenderingError
from dsn_core.plugins.discovery import Candidate
from dsn_core.plugins.registry import registry
from dsn_core.rendering import install_engines

ENGINES = ("jinja2", "django")
NASTY = "<script>alert(1)</script> & \"quotes\" 'n' {{ 7 * 7 }} {% x %}\r\nBcc: eve@example.org"


def make(engine: str = "jinja2", **attributes: Any) -> type[BaseMessageTemplate]:
    return type("Sample", (BaseMessageTemplate,), {"engine": engine, **attributes})


def render(cls: type[BaseMessageTemplate], user: Any = None, trigger_context: Any = None, **signal_kwargs: Any) -> Any:
    return cls().render(user, trigger_context, signal_kwargs)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_seeds_example_of_a_template_string(engine: str) -> None:
    source = """
    {% if \"verb\" in context and context.verb != None %}
        <div>
            <p>{{ context.verb }}</p>
        </div>
    {% endif %} """
    message = render(make(engine, template_string=source), trigger_context={"verb": "post_save"})
    assert "<p>post_save</p>" in message
    assert message.text == "post_save"
    assert message.html == str(message)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_string_without_tags_is_text(engine: str) -> None:
    message = render(make(engine, template_string="Tom & {{ name }}"), name="<Jerry>")
    assert (message.text, message.html) == ("Tom & <Jerry>", "")


@pytest.mark.parametrize("engine", ENGINES)
def test_blocks_are_parts(engine: str) -> None:
    source = (
        "{% block subject %}\n Hi {{ name }} {% endblock %}ignored{% block text %}\nT {{ name }}\n{% endblock %}"
        "{% block html %}<p>{{ name }}</p>{% endblock %}"
    )
    message = render(make(engine, template_string=source), name="A & B")
    assert (message.subject, message.text, message.html) == ("Hi A & B", "T A & B", "<p>A &amp; B</p>")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_part_of_its_own_goes_before_the_block(engine: str) -> None:
    source = "{% block subject %}old{% endblock %}{% block text %}text{% endblock %}"
    message = render(make(engine, template_string=source, subject="new {{ name }}", html="<p>{{ name }}</p>"), name="&")
    assert (message.subject, message.text, message.html) == ("new &", "text", "<p>&amp;</p>")


@pytest.mark.parametrize("engine", ENGINES)
def test_markup_is_harmless_in_html_and_exact_in_text_and_line_breaks_never_reach_the_subject(engine: str) -> None:
    parts = dict.fromkeys(("subject", "text", "html"), "{{ user }}|{{ verb }}|{{ value }}|{{ context.value }}")
    message = render(make(engine, **parts), NASTY, {"verb": NASTY}, value=NASTY)
    assert "<script>" not in message.html
    assert message.html.count("&lt;script&gt;") == 4
    assert message.text == "|".join([NASTY] * 4)
    assert "\r" not in message.subject
    assert "\n" not in message.subject
    assert message.subject.count("<script>") == 4


@pytest.mark.parametrize("engine", ENGINES)
def test_files_layouts_and_includes(engine: str, template_folder: Path) -> None:
    (template_folder / "base.html").write_text(
        "{% block subject %}[Site]{% endblock %}"
        "{% block html %}<body>{% block content %}none{% endblock %}{% include 'foot.html' %}</body>{% endblock %}"
    )
    (template_folder / "foot.html").write_text("<i>{{ name }}</i>")
    (template_folder / "middle.html").write_text("{% extends 'base.html' %}{% block content %}middle{% endblock %}")
    above = "{{ super() }}" if engine == "jinja2" else "{{ block.super }}"
    (template_folder / "child.html").write_text(
        "{% extends 'middle.html' %}"
        "{% block subject %}" + above + " {{ name }}{% endblock %}"
        "{% block content %}<p>" + above + " {{ name }}</p>{% endblock %}"
    )
    message = render(make(engine, file_name="child.html"), name="A&B")
    assert message.subject == "[Site] A&B"
    assert message.html == "<body><p>middle A&amp;B</p><i>A&amp;B</i></body>"
    assert message.text == "middle A&B\n\nA&B"


@pytest.mark.parametrize(
    ("name", "part"), [("x.html", "html"), ("x.html.j2", "html"), ("x.txt", "text"), ("x.md.jinja", "text")]
)
def test_a_file_without_blocks_is_what_its_name_says(name: str, part: str, template_folder: Path) -> None:
    (template_folder / name).write_text("{{ value }}")
    message = render(make(file_name=name), value="<&>")
    assert message == ("&lt;&amp;&gt;" if part == "html" else "<&>")
    assert bool(message.html) is (part == "html")


def test_what_is_set_imported_or_defined_outside_of_blocks_holds_in_them(template_folder: Path) -> None:
    (template_folder / "macros.html").write_text("{% macro bold(x) %}<b>{{ x }}</b>{% endmacro %}")
    (template_folder / "layout.html").write_text(
        "top{% set site = 'Cinema' %}{% block html %}<p>{{ site }}</p>{% endblock %}"
    )
    (template_folder / "sets.html").write_text(
        "{% extends 'layout.html' %}{% import 'macros.html' as m %}{% from 'macros.html' import bold %}"
        "{% set film = name ~ '!' %}{% macro own(x) %}({{ x }}){% endmacro %}"
        "{% if name %}{% set also = 'yes' %}{% endif %}"
        "{% block subject %}{{ film }}{{ own(also) }}{% endblock %}"
        "{% block html %}{{ super() }}{{ m.bold(film) }}{{ bold(name) }}{% endblock %}"
    )
    message = render(make(file_name="sets.html"), name="A&B")
    assert message.subject == "A&B!(yes)"
    assert message.html == "<p>Cinema</p><b>A&amp;B!</b><b>A&amp;B</b>"


def test_each_part_is_rendered_once_per_message(template_folder: Path) -> None:
    (template_folder / "base.html").write_text("<html>{% block html %}{% endblock %}</html>")
    (template_folder / "child.html").write_text(
        "{% extends 'base.html' %}{% block subject %}{{ count() }}{% endblock %}"
        "{% block html %}<p>{{ count() }}</p>{% endblock %}"
    )
    calls: list[int] = []

    def count() -> int:
        calls.append(1)
        return len(calls)

    render(make(file_name="child.html"), count=count)
    assert len(calls) == 2


@pytest.mark.parametrize("engine", ENGINES)
def test_the_context(engine: str) -> None:
    source = (
        "{{ user }} {{ signal_kwargs.user }} {{ context.user }} {{ verb }} {{ context.verb }} {{ context.movie }} "
        "{{ target }} {{ context.context }} {{ signal_kwargs.verb }} {{ trigger_context.verb }}"
    )
    arguments = {"user": "actor", "movie": "Brazil", "context": "mine", "verb": "other"}
    message = make(engine, text=source)().render("ann", {"verb": "v", "target": "t"}, arguments)
    assert message.text == "ann actor ann v v Brazil t mine other v"


def test_an_argument_called_signal_kwargs_hides_nothing() -> None:
    cls = make(text="{{ signal_kwargs.user }} {{ signal_kwargs.signal_kwargs }}")
    message = cls().render(None, {}, {"user": "u", "signal_kwargs": "s"})
    assert message.text == "u s"


@pytest.mark.parametrize("engine", ENGINES)
def test_get_template_context_adds_variables(engine: str) -> None:
    def mutate(self: Any, context: dict[str, Any]) -> dict[str, Any]:
        context["extra"] = f"for {context['user']}"
        return context

    def replace(self: Any, context: dict[str, Any]) -> dict[str, Any]:
        return {**context, "extra": f"for {context['user']}"}

    for method in (mutate, replace):
        cls = make(engine, text="{{ extra }}, {{ context.extra }}", get_template_context=method)
        assert render(cls, "ann").text == "for ann, for ann"


def test_what_get_template_context_puts_into_the_dictionaries_reaches_no_other_receiver() -> None:
    def note(self: Any, context: dict[str, Any]) -> dict[str, Any]:
        for name in ("signal_kwargs", "trigger_context"):
            context[name].setdefault("who", context["user"])
        return context

    template = make(text="{{ signal_kwargs.who }} {{ trigger_context.who }}", get_template_context=note)()
    signal_kwargs: dict[str, Any] = {"movie": "Brazil"}
    trigger_context: dict[str, Any] = {"verb": "v"}
    texts = [template.render(user, trigger_context, signal_kwargs).text for user in ("ann", "bob")]
    assert texts == ["ann ann", "bob bob"]
    assert (signal_kwargs, trigger_context) == ({"movie": "Brazil"}, {"verb": "v"})


def test_a_forgotten_return_is_said() -> None:
    cls = make(text="x", get_template_context=lambda self, context: None)
    with pytest.raises(RenderingError, match="does it end with 'return context'"):
        render(cls)


@pytest.mark.parametrize("engine", ENGINES)
def test_compiled_once_per_process(engine: str, template_folder: Path) -> None:
    (template_folder / "layout.txt").write_text("{% block text %}{% include 'part.txt' %}{% endblock %}")
    (template_folder / "part.txt").write_text("first")
    (template_folder / "x.txt").write_text("{% extends 'layout.txt' %}")
    cls = make(engine, file_name="x.txt")
    assert render(cls).text == "first"
    for name in ("layout.txt", "part.txt", "x.txt"):
        (template_folder / name).write_text("second")
    assert render(cls).text == "first"


def test_a_subclass_compiles_its_own_source() -> None:
    parent = make(text="parent")
    assert render(parent).text == "parent"
    child = type("Child", (parent,), {"text": "child"})
    assert render(child).text == "child"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("source", ["{% if %}", "{% block text %}", "{{ a b }}", "{% nosuchtag %}"])
def test_a_syntax_error_names_the_language(engine: str, source: str) -> None:
    language = "Jinja2 at line 1" if engine == "jinja2" else "Django template"
    with pytest.raises(RenderingError, match=f"The template is no valid {language}"):
        render(make(engine, template_string=source))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_error_in_a_file_names_the_file(engine: str, template_folder: Path) -> None:
    (template_folder / "bad.txt").write_text("\n{% if %}")
    with pytest.raises(RenderingError, match=r"bad\.txt"):
        render(make(engine, file_name="bad.txt"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("source", ["{% extends 'gone.txt' %}", "{% include 'gone.txt' %}", None])
def test_a_missing_file_is_said_with_the_folders(engine: str, source: str | None, template_folder: Path) -> None:
    cls = make(engine, file_name="gone.txt") if source is None else make(engine, template_string=source)
    with pytest.raises(RenderingError, match=r"no template file 'gone\.txt'") as caught:
        render(cls)
    assert str(template_folder) in str(caught.value)


def test_a_django_template_in_jinja2_gets_the_advice() -> None:
    with pytest.raises(RenderingError, match='set engine = "django"'):
        render(make(template_string="{% load i18n %}{% trans 'x' %}"))


@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_variable_raises_comes_through(engine: str) -> None:
    class Angry:
        @property
        def name(self) -> str:
            raise ZeroDivisionError("angry")

    with pytest.raises(ZeroDivisionError, match="angry"):
        render(make(engine, text="{{ value.name }}"), value=Angry())


def test_dates_and_numbers_are_as_the_receiver_writes_them() -> None:
    moment = datetime.datetime(2026, 7, 1, 22, 30, tzinfo=datetime.UTC)
    cls = make(text="{{ when }} | {{ price }} | {{ 2.5 }} | {{ price + 1 == 4.5 }}")
    with translation.override("de"), timezone.override("Europe/Berlin"):
        assert render(cls, when=moment, price=decimal.Decimal("3.5")).text == "2. Juli 2026 00:30 | 3,5 | 2,5 | True"
    with translation.override("en"), timezone.override("UTC"):
        assert (
            render(cls, when=moment, price=decimal.Decimal("3.5")).text == "July 1, 2026, 10:30 p.m. | 3.5 | 2.5 | True"
        )


@pytest.mark.parametrize("engine", ENGINES)
def test_translations(engine: str) -> None:
    source = {
        "jinja2": "{{ _('Yes') }} {{ gettext('No') }} {% trans %}January{% endtrans %} "
        "{{ pgettext('alt. month', 'May') }}",
        "django": "{% load i18n %}{% translate 'Yes' %} {% trans 'No' %} {% trans 'January' %} "
        "{% translate 'May' context 'alt. month' %}",
    }[engine]
    cls = make(engine, text=source)
    with translation.override("de"):
        assert render(cls).text == "Ja Nein Januar Mai"
    with translation.override("fr"):
        assert render(cls).text == "Oui Non janvier Mai"


def test_urls_in_jinja2() -> None:
    assert render(make(text="{{ url('admin:index') }}")).text == "/admin/"


def test_a_plugins_templates_folder_needs_no_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_plugin_without_app"
    (package / "templates" / "some").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text("")
    (package / "templates" / "some" / "hello.txt").write_text("from the plugin: {{ user }}")
    monkeypatch.syspath_prepend(tmp_path)

    class Hooks:
        @hookimpl
        def dsn_jinja2_environment(self, environment: jinja2.Environment) -> None:
            environment.filters["shout"] = lambda text: f"{text}!".upper()

    module = "some_plugin_without_app.plugin"
    plugin = registry.add(Candidate(name="some", source="entry_point", module=module, load=Hooks))
    before = dict(engines)
    install_engines()
    try:
        for engine in ENGINES:
            assert render(make(engine, file_name="some/hello.txt"), "ann").text == "from the plugin: ann"
        assert render(make(text="{{ user|shout }}", html="<p>{{ user|shout }}</p>"), "ann") == "ANN!"
    finally:
        registry.remove(plugin)
        engines.update(before)


def test_a_template_may_be_a_subclass_with_a_render_of_its_own() -> None:
    cls = type("Own", (BaseMessageTemplate,), {"render": lambda self, user, *args: f"for {user}"})
    assert cls().render("ann", {}, {}) == "for ann"


def test_the_built_in_template_says_what_happened() -> None:
    thing = SimpleNamespace()
    template = registry.message_template("simple")
    message = template.render(
        "ann", {"verb": "post_save", "action_object": "Brazil", "actor_object": None, "target": "t"}
    )
    assert message.subject == "post_save: Brazil"
    assert message.text == "post_save\nAction object: Brazil\nTarget: t"
    assert template.render(thing, {"verb": "v", "action_object": None, "actor_object": None, "target": ""}).text == "v"
