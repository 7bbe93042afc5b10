"""The admin of the movies, with the action that releases them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from cinema.models import Movie

if TYPE_CHECKING:
    MovieModelAdmin = admin.ModelAdmin[Movie]
else:
    MovieModelAdmin = admin.ModelAdmin


@admin.register(Movie)
class MovieAdmin(MovieModelAdmin):
    list_display = ["name", "about", "released"]
    list_filter = ["released"]
    search_fields = ["name"]
    filter_horizontal = ["audiences"]
    readonly_fields = ["released"]
    actions = ["release"]

    @admin.action(description="Release the selected movies", permissions=["change"])
    def release(self, request: HttpRequest, queryset: QuerySet[Movie]) -> None:
        """Release each movie that is not out yet."""
        for movie in queryset:
            if movie.release(by=request.user):
                self.message_user(request, f"{movie} is released. Its messages go out right after this answer.")
            else:
                self.message_user(request, f"{movie} was released before; no message is sent.", messages.WARNING)
