"""The cinema's message templates."""

from __future__ import annotations

from typing import Any

from django.conf import settings

from dsn_core import BaseMessageTemplate


class MovieReleased(BaseMessageTemplate):
    """A movie can be seen from now on."""

    name = "movie_released"
    file_name = "cinema/mail/movie_released.html"
    required_signal_args = ["movie"]

    def get_template_context(self, context: dict[str, Any]) -> dict[str, Any]:
        context["cinema_name"] = settings.CINEMA_NAME
        context["cinema_url"] = settings.CINEMA_URL
        return context


class MovieReleasedBrief(MovieReleased):
    """The same in one sentence, for messengers on a telephone. Telegram takes the HTML, SMS the text."""

    name = "movie_released_brief"
    file_name = ""
    text = "{{ cinema_name }}: {{ movie.name }} can be seen from today on. {{ cinema_url }}/"
    html = "<b>{{ movie.name }}</b> can be seen from today on.<br><i>{{ movie.about }}</i><br>{{ cinema_url }}/"


class Welcome(BaseMessageTemplate):
    """A welcome after a user connected a Telegram account."""

    name = "welcome"
    template_string = "Welcome, {{ user.first_name or user.get_username() }}! From now on you hear of new movies here."
