"""The translations: each catalogue keeps up with the source, and its words arrive on the pages."""

from __future__ import annotations

import html
import io
import re
import shutil
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import django
import pytest
from babel.messages import Message
from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir, extract_python
from babel.messages.pofile import read_po
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils.translation.template import templatize

from dsn_core.models import Delivery, Trigger
from hatch_build import compile_catalogue

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dsn_core"
LOCALES = PACKAGE / "locale"
GERMAN = LOCALES / "de" / "LC_MESSAGES" / "django.po"


def django_template(file: io.BufferedReader, keywords: Any, comment_tags: Any, options: Any) -> Iterator[Any]:
    """What Babel calls to read a template of Django's: it sees what ``makemessages`` sees."""
    # In brackets, where Python minds no indentation.
    python = f"({templatize(file.read().decode())})"
    return extract_python(io.BytesIO(python.encode()), keywords, comment_tags, options)


#: What reads which files, by the first pattern that fits. The admin's templates are Django's, the others Jinja2's.
READERS: list[tuple[str, Any]] = [
    ("**.py", "python"),
    ("templates/dsn_core/admin/**.*", django_template),
    ("templates/**.*", "jinja2.ext:babel_extract"),
]
#: A template that cannot be read is an error: its strings would be missed.
READER_OPTIONS = {"templates/**.*": {"silent": "false"}}
#: The names by which Django's functions are called in the source, and which of their arguments are strings.
MARKS: dict[str, Any] = {
    **DEFAULT_KEYWORDS,
    "gettext_lazy": None,
    "ngettext_lazy": (1, 2),
    "pgettext_lazy": ((1, "c"), 2),
    "npgettext_lazy": ((1, "c"), 2, 3),
}

#: A placeholder of %-formatting, or of str.format() and format_html(). Doubled signs are plain text.
PLACEHOLDER = re.compile(r"%%|%(?:\(\w+\))?[-+#0 ]*\d*(?:\.\d+)?[a-zA-Z]|\{\{|\}\}|\{[^{}]*\}")


@cache
def marked() -> Catalog:
    """All strings that the source marks for translation."""
    found = Catalog()
    strings = extract_from_dir(PACKAGE, READERS, READER_OPTIONS, keywords=MARKS)
    for file, line, message, _comments, context in strings:
        found.add(message, locations=[(file, line)], context=context)
    return found


@cache
def catalogue(source: Path) -> Catalog:
    with source.open("rb") as lines:
        return read_po(lines, locale=source.parent.parent.name, abort_invalid=True)


def entries(translated: Catalog) -> Iterator[Message]:
    """All but the header, whose id is empty."""
    return (message for message in translated if message.id)


def forms(text: Any) -> tuple[str, ...]:
    """The plural forms of an id or a translation; one for a string without a plural."""
    return tuple(text) if isinstance(text, list | tuple) else (text or "",)


def placeholders(text: str) -> tuple[str, ...]:
    """The placeholders of ``text``: those without a name in their order, which counts, then those with one."""
    found = [item for item in PLACEHOLDER.findall(text) if item not in ("%%", "{{", "}}")]
    named = [item for item in found if item.startswith("%(") or item[1:-1].isidentifier()]
    return (*(item for item in found if item not in named), *sorted(named))


#: Every language there is a catalogue of, those that are added later too.
each_catalogue = pytest.mark.parametrize(
    "source", sorted(LOCALES.glob("*/LC_MESSAGES/django.po")), ids=lambda source: source.parent.parent.name
)


def test_german_is_there_and_the_source_is_read() -> None:
    assert GERMAN.is_file()
    # Marked as lazy, as plain, with a plural, and in a template of Django's.
    texts = ("message template", "This address is listed twice.", ("%d was enabled.", "%d were enabled."))
    for text in (*texts, "Add another condition", "Condition %(number)s"):
        assert marked().get(text) is not None, text


@each_catalogue
def test_the_catalogue_has_every_string_that_the_source_marks(source: Path) -> None:
    translated = catalogue(source)
    missing = [
        (message.id, message.locations)
        for message in entries(marked())
        if (found := translated.get(message.id, message.context)) is None or forms(found.id) != forms(message.id)
    ]
    assert not missing, f"run makemessages in dsn_core and translate: {missing}"


@each_catalogue
def test_no_entry_is_empty_or_a_guess(source: Path) -> None:
    translated = catalogue(source)
    unfinished = [
        message.id
        for message in entries(translated)
        if message.fuzzy
        or not all(forms(message.string))
        or (message.pluralizable and len(forms(message.string)) != translated.num_plurals)
    ]
    assert not unfinished
    assert not translated.fuzzy, "the header is marked as fuzzy"


@each_catalogue
def test_every_translation_has_the_placeholders_of_its_original(source: Path) -> None:
    different = [
        (message.id, form)
        for message in entries(catalogue(source))
        for form in forms(message.string)
        if placeholders(form) not in {placeholders(text) for text in forms(message.id)}
    ]
    assert not different


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no placeholder, 100 %% and {{ }}", ()),
        ("%(b)s before %(a)d", ("%(a)d", "%(b)s")),
        ("%d of %s", ("%d", "%s")),
        ("%s of %d", ("%s", "%d")),
        ("by {} {name}", ("{}", "{name}")),
    ],
)
def test_placeholders_are_found(text: str, expected: tuple[str, ...]) -> None:
    assert placeholders(text) == expected


@each_catalogue
def test_words_that_django_translates_too_are_translated_as_there(source: Path) -> None:
    """Django merges the catalogues of all apps: another translation would change the pages of other apps."""
    different = [
        (message.id, message.string, theirs.string)
        for path in Path(django.__file__).parent.glob(f"**/{source.relative_to(LOCALES.parent)}")
        for message in entries(catalogue(source))
        if (theirs := catalogue(path).get(message.id, message.context)) is not None
        and theirs.string
        and forms(theirs.string) != forms(message.string)
    ]
    assert not different


@pytest.fixture
def german(settings: Any, tmp_path: Path) -> None:
    """A project in German, with the catalogue as a build compiles it."""
    built = tmp_path / GERMAN.relative_to(LOCALES)
    built.parent.mkdir(parents=True)
    shutil.copy(GERMAN, built)
    assert compile_catalogue(built) == built.with_suffix(".mo")
    built.unlink()
    settings.LOCALE_PATHS = [tmp_path]
    settings.LANGUAGE_CODE = "de"


@pytest.mark.django_db
def test_the_admin_speaks_german(german: None, client: Client) -> None:
    trigger = Trigger.objects.define("user_logged_in", enabled=False)
    client.force_login(User.objects.create_superuser("root", "root@example.org", "pw"))

    page = client.get(reverse("admin:dsn_core_trigger_add"))
    read = html.unescape(page.content.decode())
    # The app's name, the model's, a fieldset's, a field's, a help text, and the empty choice.
    for text in (
        "Benachrichtigungen",
        "Auslöser hinzufügen",
        "Worum es geht",
        "Modell des Aktionsobjekts:",
        "Der registrierte Name eines Signals.",
        ">jedes</option>",
    ):
        assert text in read, text
    for text in ("What it is about", "Action object", "The registered name"):
        assert text not in read, text

    chosen = {"action": "enable", "_selected_action": [trigger.pk]}
    page = client.post(reverse("admin:dsn_core_trigger_changelist"), chosen, follow=True)
    read = html.unescape(page.content.decode())
    assert "1 wurde aktiviert." in read
    assert "Ausgewählte Auslöser deaktivieren" in read


@pytest.mark.django_db
def test_actions_ask_in_german(german: None, client: Client) -> None:
    client.force_login(User.objects.create_superuser("root", "root@example.org", "pw"))
    Delivery.objects.create(event_id=1, backend_id=1, occurrence=uuid.uuid4(), messenger="pager", status="unknown")
    every = {"select_across": "1", "index": "0", "_selected_action": ["1"]}
    address = reverse("admin:dsn_core_delivery_changelist")
    for action, texts in {
        "retry": ("Zustellungen erneut senden", "Es ist kein Filter gesetzt", "Die Nutzdaten wurden gelöscht"),
        "cancel": ("Zustellungen abbrechen", "1 bleibt, wie sie ist."),
        "delete_selected": ("Mehrere Objekte löschen", "Alle, die es gibt"),
    }.items():
        read = html.unescape(client.post(address, {"action": action, **every}).content.decode())
        for text in texts:
            assert text in read, text
