"""The pytest plugin with the fixture ``dsn``. pytest loads it wherever dsn-core is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dsn_core.testing.harness import Harness

# So that failing asserts of the contract show the compared values.
pytest.register_assert_rewrite("dsn_core.testing.contract")


@pytest.fixture
def dsn() -> Iterator[Harness]:
    """A :class:`~dsn_core.testing.harness.Harness` to register classes, run the pipeline and see sent messages.

    ::

        @pytest.mark.django_db
        def test_the_audience_is_told_of_a_release(dsn, movie, ann):
            trigger = Trigger.objects.define("movie_released")
            trigger.subscribe(users=[ann], backends=[("memory", "movie_released")])
            movie_released.send(sender=Movie, movie=movie)
            dsn.run()
            assert [message.user for message in dsn.sent] == [ann]
    """
    # Imports models, which needs Django to be set up; this module is imported before that.
    from dsn_core.testing.harness import Harness

    with Harness() as harness:
        yield harness
