"""A value that an event did not store fails whatever uses it: in both engines, in paths and in code."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from dsn_core import BaseMessageTemplate, payload
from dsn_core.contracts.activities import Activity
from dsn_core.exceptions import NotStored
from dsn_core.payload.placeholders import missing_in, refused
from dsn_core.payload.private import follow
from tests.testapp.models import Movie

ENGINES = ("jinja2", "django")
SAID = r"'orders' was not stored with the event \(list of 900: too large to store, more than 400 bytes\)\. Send less"


def read_back(**arguments: Any) -> Any:
    return payload.load("v", payload.dump(Activity("v", signal_kwargs=arguments))).signal_kwargs


@pytest.fixture
def orders(settings: Any) -> Any:
    """What stands for 900 orders that were too large."""
    settings.DSN = {"MAX_PAYLOAD_BYTES": 400}
    return read_back(orders=[f"order {number}" for number in range(900)])["orders"]


def render(engine: str, source: str, **arguments: Any) -> str:
    cls = type("Sample", (BaseMessageTemplate,), {"engine": engine, "text": source})
    return cls().render(None, {}, arguments).text


IN_BOTH = [
    "The week: {{ orders|length }}",
    "The week: {{ orders }}",
    "{{ signal_kwargs.orders }}",
    "{{ context.orders|upper }}",
    "{% for order in orders %}{{ order }}{% endfor %}",
    "{% for order in orders|dictsort('x') %}{% endfor %}",
    "{% if orders %}yes{% endif %}",
    "{% if not orders %}none{% endif %}",
    "{% if orders and name %}yes{% endif %}",
    "{% if name and orders %}yes{% endif %}",
    "{% if orders > 5 %}yes{% endif %}",
    "{% if 5 < orders %}yes{% endif %}",
    "{% if orders == 5 %}yes{% else %}no{% endif %}",
    "{% if 'x' == orders %}yes{% else %}no{% endif %}",
    "{% if orders != name %}yes{% endif %}",
    "{% if name in orders %}yes{% else %}no{% endif %}",
    "{% if orders in other %}yes{% else %}no{% endif %}",
    "{% if orders|length > 5 %}yes{% endif %}",
    "{% if orders.count > 5 %}yes{% endif %}",
    "{{ orders.0 }}",
    "{{ orders.name }}",
    "{{ orders.kind }}",
    "{{ orders|first }}",
    "{{ orders|last }}",
    "{{ orders|join(', ') }}",
    "{{ orders|lower }}",
    "{{ orders|safe }}",
    "{{ orders|escape }}",
    "{{ orders|pprint }}",
    "{{ orders|default('none') }}",
    "{{ several }}",
    "{{ nested.inside }}",
    "{{ nested }}",
    "{% include part %}",
]
IN_JINJA2 = [
    "{{ 'The week: ' ~ orders }}",
    "{{ orders + 1 }}",
    "{{ 'x' + orders }}",
    "{{ orders[0] }}",
    "{{ orders|tojson }}",
    "{{ orders|int }}",
    "{{ orders|map('upper')|list }}",
    "{% if orders is string %}yes{% else %}no{% endif %}",
    "{% if orders is iterable %}yes{% endif %}",
    "{% if orders is mapping %}yes{% else %}no{% endif %}",
    "{% if name is sameas orders %}yes{% else %}no{% endif %}",
    "{% set some = orders|string %}{{ some }}",
    "{% block text %}{{ orders|length }}{% endblock %}",
    "{% include orders ignore missing %}",
    "{{ _('%(n)s orders', n=orders) }}",
]
IN_DJANGO = [
    "{{ orders|add:1 }}",
    "{{ orders|add:name }}",
    "{{ name|add:orders }}",
    "{{ orders|date:'Y' }}",
    "{{ orders|floatformat }}",
    "{{ orders|filesizeformat }}",
    "{{ orders|yesno:'a,b' }}",
    "{{ orders|pluralize }}",
    "{{ orders|slice:':2' }}",
    "{{ orders|json_script:'x' }}",
    "{{ orders|default_if_none:'x' }}",
    "{{ orders|timesince }}",
    "{% firstof orders name %}",
    "{% with some=orders %}{{ some|length }}{% endwith %}",
    "{% with some=orders.count %}{{ some }}{% endwith %}",
    "{% widthratio orders 2 3 %}",
    "{% regroup orders by x as found %}{{ found }}",
    "{% blocktranslate with n=orders %}{{ n }} orders{% endblocktranslate %}",
    "{% if orders or name %}yes{% endif %}",
    "{% url 'admin:view_on_site' orders 1 %}",
    "{% cycle orders 'x' %}",
]


def cases() -> list[Any]:
    # Django writes a filter's argument in its own way.
    django = [source.replace("('", ":'").replace("')", "'") for source in IN_BOTH]
    return [
        *(pytest.param("jinja2", source, id=f"jinja2 {source}") for source in (*IN_BOTH, *IN_JINJA2)),
        *(pytest.param("django", source, id=f"django {source}") for source in (*django, *IN_DJANGO)),
    ]


@pytest.mark.parametrize(("engine", "source"), cases())
def test_a_template_that_uses_it_fails(engine: str, source: str, orders: Any) -> None:
    if engine == "django":
        source = "{% load i18n %}" + source
    given = {"orders": orders, "several": [1, orders], "nested": {"inside": orders}, "other": [1, 2], "name": "n"}
    if "{% include part" in source:
        given["part"] = orders
    error = TypeError if "json" in source else NotStored
    with pytest.raises(error) as caught:
        render(engine, source, **given)
    if error is NotStored:
        assert caught.match(SAID)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_template_that_does_not_use_it_is_rendered(engine: str, orders: Any) -> None:
    source = "Hello {{ name }}{% if not name %}{{ orders }}{% endif %}"
    assert render(engine, source, orders=orders, name="Ann") == "Hello Ann"
    assert render(engine, "{% if name %}{{ name }}{% else %}{{ orders }}{% endif %}", orders=orders, name="x") == "x"


@pytest.mark.parametrize("engine", ENGINES)
def test_it_is_not_none(engine: str, orders: Any) -> None:
    none = "none" if engine == "jinja2" else "None"
    assert render(engine, "{% if orders is " + none + " %}none{% else %}some{% endif %}", orders=orders) == "some"


def test_a_template_class_may_do_without_it(orders: Any) -> None:
    """What Python code catches, it has seen; only what a template engine swallows fails all the same."""

    def tolerant(self: Any, context: dict[str, Any]) -> dict[str, Any]:
        try:
            context["number"] = len(context["orders"])
        except NotStored:
            context["number"] = "many"
        return context

    cls = type("Sample", (BaseMessageTemplate,), {"text": "{{ number }} orders", "get_template_context": tolerant})
    assert cls().render(None, {}, {"orders": orders}).text == "many orders"


USES: list[Callable[[Any], object]] = [
    str,
    bool,
    len,
    list,
    int,
    float,
    sorted,
    lambda it: f"{it}",
    lambda it: f"{it:>3}",
    lambda it: "%s" % it,  # noqa: UP031
    lambda it: it == 1,
    lambda it: it != 1,
    lambda it: it == it,
    lambda it: it < 1,
    lambda it: it <= 1,
    lambda it: it + 1,
    lambda it: 1 + it,
    lambda it: it[0],
    lambda it: it.name,
    lambda it: it(),
    lambda it: 1 in it,
    lambda it: -it,
    lambda it: it % 2,
    round,
    next,
    dict,
    lambda it: follow({"it": it}, "it.count"),
]


@pytest.mark.parametrize("use", USES)
def test_code_that_uses_it_is_told(use: Callable[[Any], object], orders: Any) -> None:
    with pytest.raises((NotStored, TypeError)) as caught:
        use(orders)
    if isinstance(caught.value, TypeError):
        # What Python itself forbids: it is no callable.
        assert "not callable" in str(caught.value)


def test_it_can_be_looked_at_copied_and_pickled(orders: Any) -> None:
    said = "<not stored: orders, list of 900: too large to store, more than 400 bytes>"
    for one in (orders, copy.copy(orders), copy.deepcopy([orders])[0], pickle.loads(pickle.dumps(orders))):  # noqa: S301
        assert repr(one) == said
        assert isinstance(one, payload.Placeholder)
        assert one is not None
        assert not callable(one)
    again = payload.load("v", payload.dump(Activity("v", signal_kwargs={"orders": orders}))).signal_kwargs["orders"]
    assert repr(again) == said


def test_an_instance_whose_text_was_not_stored_says_so(settings: Any) -> None:
    settings.DSN = {"MAX_PAYLOAD_BYTES": 400}
    movie = read_back(movie=Movie(pk=1, name="x" * 300))["movie"]
    for engine in ENGINES:
        with pytest.raises(NotStored, match=r"'movie\.name' was not stored with the event \(str: too large"):
            render(engine, "{{ movie }}", movie=movie)
        assert render(engine, "{{ movie.pk }}", movie=movie) == "1"


def test_what_has_no_form_names_the_way_out() -> None:
    with pytest.raises(NotStored, match=r"'it' was not stored .*object: cannot be stored.* hook dsn_codecs"):
        str(read_back(it=object())["it"])


def test_an_error_of_another_kind_that_it_caused_is_said_by_its_cause(orders: Any) -> None:
    def careless() -> None:
        try:
            str(orders)
        except NotStored:
            raise ZeroDivisionError from None

    with pytest.raises(NotStored, match=SAID), refused():
        careless()
    with pytest.raises(ZeroDivisionError), refused():
        raise ZeroDivisionError


def test_what_an_event_lacks_is_listed(settings: Any) -> None:
    settings.DSN = {"MAX_PAYLOAD_BYTES": 1_000}
    big = "x" * 5_000
    text = payload.dump(
        Activity("v", signal_kwargs={"big": big, "movie": Movie(pk=1, name="y" * 600), "it": {"deep": [object()]}})
    )
    assert [(item.name, item.why.partition(",")[0], item.kind) for item in missing_in(text)] == [
        ("big", "str: too large to store", "size"),
        ("movie.name", "str: too large to store", "size"),
        ("it", "object: cannot be stored", "type"),
    ]
    harmless = payload.dump(
        Activity("v", signal_kwargs={"it": '{"$":"placeholder","v":"x"}', "$": {"$": "placeholder"}})
    )
    assert missing_in(harmless) == []
    assert missing_in("nonsense") == []
