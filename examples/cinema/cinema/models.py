"""Movies and their audiences."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from cinema.signals import movie_released


class Movie(models.Model):
    """A movie; its audiences are the users who want to see it."""

    name = models.CharField(max_length=255)
    about = models.CharField(max_length=255, blank=True)
    released = models.DateField(null=True, blank=True, editable=False)
    audiences = models.ManyToManyField(settings.AUTH_USER_MODEL, blank=True, related_name="movies")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def release(self, by: Any = None) -> bool:
        """Release the movie today and send the signal; ``by`` is the user who releases it.

        Returns False, and does nothing, if it was released before. No message is sent here: the event is recorded in
        this transaction, and its messages are sent after the commit, so that a rollback sends none.
        """
        with transaction.atomic():
            self.refresh_from_db(fields=["released"])
            if self.released is not None:
                return False
            self.released = timezone.localdate()
            self.save(update_fields=["released"])
            movie_released.send(sender=type(self), movie=self, actor_object=by)
        return True
