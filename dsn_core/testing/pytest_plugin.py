"""pytest's plugin: the fixture ``dsn``. Loaded by pytest wherever dsn-core is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dsn_core.testing.harness import Harness

# So that a failing contract shows what it compared.
pytest.register_assert_rewrite("dsn_core.testing.contract")


@pytest.fixture
def dsn() -> Iterator[Harness]:
    """Register, run and see: the :class:`~dsn_core.testing.harness.Harness`.

    ::

        @pytest.mark.django_db
        def test_the_audience_hears_of_a_release(dsn, movie, ann):
            trigger = Trigger.objects.define("movie_released")
            trigger.subscribe(users=[ann], backends=[("memory", "movie_released")])
            movie_released.send(sender=Movie, movie=movie)
            dsn.run()
            assert [message.user for message in dsn.sent] == [ann]
    """
    # Imports models, which Django must be set up for; this module is imported before that.
    from dsn_core.testing.harness import Harness

    with Harness() as harness:
        yield harness
