"""What the cinema's messages say."""

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
