"""``manage.py seed_cinema``: makes the example's data."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from cinema import example_data


class Command(BaseCommand):
    help = "Make the groups, users, movies, triggers and subscriptions of the example, as far as they are missing."

    def handle(self, *args: Any, **options: Any) -> None:
        example_data.seed()
        user, password = example_data.ADMIN
        self.stdout.write(f"The cinema is set up. Its admin: user {user}, password {password}.")
