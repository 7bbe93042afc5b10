"""The cinema's own signal."""

from __future__ import annotations

from django.dispatch import Signal

#: Sent by ``Movie.release``, with ``movie``, and with ``actor_object``: who released it (a user, or None).
movie_released = Signal()
