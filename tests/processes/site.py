"""The web site: its views tell which process answered, and what it did with the database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db import connection
from django.db.backends.signals import connection_created
from django.db.models import Max
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from dsn_core.models import ConfigurationChange, Event, Subscription
from tests.testapp.models import Country, Movie

MODELS = {"movie": lambda: Movie.objects.create(name="M"), "country": lambda: _country().save()}

#: What this process asked the database, and how often it connected.
queries: list[str] = []
opened: list[str] = []


def _count_query(execute: Any, sql: str, *arguments: Any) -> Any:
    queries.append(sql)
    return execute(sql, *arguments)


def _count_connection(connection: Any, **kwargs: Any) -> None:
    opened.append(connection.alias)


def watch() -> None:
    """From now on, count what this thread asks the database."""
    connection.execute_wrappers.append(_count_query)
    connection_created.connect(_count_connection)


def _country() -> Country:
    Country.objects.all().delete()
    return Country(code="de")


def name_process(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """The middleware that says which process answered."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["X-Process"] = str(os.getpid())
        return response

    return middleware


def plain(request: HttpRequest) -> JsonResponse:
    """A page that needs no database. With ``hold`` it takes its time, so that another process gets the next one."""
    time.sleep(float(request.GET.get("hold", "0")))
    looks = [sql for sql in queries if ConfigurationChange._meta.db_table in sql]
    reads = [sql for sql in queries if Subscription._meta.db_table in sql]
    return JsonResponse(
        {
            "pid": os.getpid(),
            "queries": len(queries),
            "looks": len(looks),
            "reads": len(reads),
            "opened": len(opened),
        }
    )


def save(request: HttpRequest, model: str) -> JsonResponse:
    """Save one row; which triggers recorded an event of it?"""
    before = Event.objects.aggregate(last=Max("id"))["last"] or 0
    MODELS[model]()
    found = Event.objects.filter(id__gt=before).order_by("trigger_id").values_list("trigger_id", flat=True)
    time.sleep(float(request.GET.get("hold", "0")))
    return JsonResponse({"pid": os.getpid(), "triggers": list(found)})


urlpatterns = [
    path("admin/", admin.site.urls),
    path("plain/", plain),
    path("save/<str:model>/", save),
]
