"""The Celery app of the worker processes that the tests start: ``celery -A celery_project worker``.

Its configuration comes as JSON in the environment.
"""

from __future__ import annotations

import json
import os

from celery import Celery

app = Celery("celery_project")
app.conf.update(json.loads(os.environ["DSN_TEST_CELERY"]))


@app.task(ignore_result=True)
def make_movie(name: str) -> None:
    """A task of the project itself, whose signals are heard where it runs."""
    from tests.testapp.models import Movie

    Movie.objects.create(name=name)
