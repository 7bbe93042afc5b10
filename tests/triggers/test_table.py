"""The table of matching, in fresh processes: the whole of it, and cases that hypothesis chooses."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsn_core.models import Event, Trigger
from dsn_core.plugins.catalogue import catalogue
from tests.triggers import table

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def verb():
    table.registered()
    yield
    catalogue.remove("table_released")


@pytest.mark.slow
def test_the_whole_table(child_environment, capsys):
    lines, wrong = table.run(child_environment)
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *lines, f"{len(wrong)} cells are wrong", ""]))
    assert wrong == []


@pytest.fixture
def world(transactional_db):
    return table.make_rows()


def cases(world: dict[str, list[Any]]) -> st.SearchStrategy[tuple[list[table.Rule], list[table.Sending]]]:
    """Triggers and sendings, any with any."""
    actors = st.sampled_from([None, *world["actors"], *world["actor_models"], *world["parents_of_actors"]])
    actions = st.sampled_from([*world["models"], *world["instances"]])
    models = [*table.MODEL_VERBS, "m2m_changed"]
    targets = st.sampled_from(["", "home", "Home ", "1"])
    rules = st.builds(table.Rule, st.sampled_from(models), actions, actors, targets) | st.builds(
        table.Rule, st.sampled_from(["table_released", "user_logged_out"]), st.none() | actions, actors, targets
    )
    whole = table.all_sendings(world)
    about = st.sampled_from([None, *world["instances"], *world["models"]])
    acting = st.sampled_from([None, *world["actors"]])
    custom = st.builds(
        table.Sending, st.just("table_released"), st.sampled_from(table.METHODS), about, acting, targets | st.none()
    )
    return st.tuples(
        st.lists(rules, min_size=40, max_size=160, unique=True),
        st.lists(st.sampled_from(whole) | custom, min_size=40, max_size=90),
    )


@pytest.mark.slow
def test_cases_that_hypothesis_chooses(world, child_environment, capsys):
    sizes = []

    @settings(max_examples=3, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=False)
    @given(cases(world))
    def check(case):
        rules, sendings = case
        Trigger.objects.all().delete()
        Event.objects.all().delete()
        saved = table.save_rules(rules)
        answers = table.ask_a_fresh_process(sendings, child_environment)
        sizes.append((len(rules) * len(sendings), sum(map(len, answers))))
        assert table.differences(saved, sendings, answers) == []

    check()
    with capsys.disabled():
        cells, matches = map(sum, zip(*sizes, strict=True))
        sys.stdout.write(f"\nhypothesis: {len(sizes)} fresh processes, {cells:,} cells, {matches:,} matches\n")
