"""The programme, with a button that releases a movie, and a preview of the e-mail."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.contrib.admin.views.decorators import staff_member_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from cinema.message_templates import MovieReleased
from cinema.models import Movie
from dsn_core.models import Delivery


def everywhere(request: HttpRequest) -> dict[str, str]:
    """The variables of all page templates; a context processor."""
    return {"cinema_name": settings.CINEMA_NAME, "telephone_url": settings.CINEMA_TELEPHONE}


def programme(request: HttpRequest) -> HttpResponse:
    """All movies; for staff also the last deliveries."""
    context = {
        "movies": Movie.objects.annotate(waiting=Count("audiences")).order_by("name"),
        "deliveries": Delivery.objects.select_related("event", "user")[:40] if request.user.is_staff else (),
    }
    return render(request, "cinema/programme.html", context)


@require_POST
@staff_member_required
def release(request: HttpRequest, pk: int) -> HttpResponse:
    """Release a movie, which fires the signal."""
    movie = get_object_or_404(Movie, pk=pk)
    if movie.release(by=request.user):
        messages.success(request, f"{movie} is released. Its messages went out right after the answer to your click.")
    return redirect("cinema:programme")


@staff_member_required
def preview(request: HttpRequest, pk: int) -> HttpResponse:
    """The e-mail about a movie, rendered for the user of the request."""
    movie = get_object_or_404(Movie, pk=pk)
    message = MovieReleased().render(user=request.user, signal_kwargs={"movie": movie})
    return HttpResponse(message.html)
