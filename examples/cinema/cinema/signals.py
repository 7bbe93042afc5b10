"""The cinema's own signal."""

from __future__ import annotations

from django.dispatch import Signal

#: Sent by ``Movie.release``, with ``movie``, and with ``actor_object``: the user who released it, or None.
movie_released = Signal()
