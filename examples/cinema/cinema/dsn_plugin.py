"""What this app brings to dsn-core, which finds this module by its name, as Django finds ``admin.py``."""

from __future__ import annotations

from cinema.message_templates import MovieReleased, MovieReleasedBrief, Welcome
from cinema.signals import movie_released
from dsn_core import BaseMessageTemplate, SignalRegistration, hookimpl


@hookimpl
def dsn_signals() -> list[SignalRegistration]:
    return [
        SignalRegistration(
            "movie_released",
            movie_released,
            provides=["movie"],
            action_object="movie",
            description="A movie can be seen from now on.",
        )
    ]


@hookimpl
def dsn_message_templates() -> list[type[BaseMessageTemplate]]:
    return [MovieReleased, MovieReleasedBrief, Welcome]
