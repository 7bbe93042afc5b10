"""Middleware that makes the request's user the acting user."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase

from dsn_core.context import acting_as


class ActingUserMiddleware:
    """Makes the request's user the actor object of the signals that are sent while it is answered.

    Stands after ``AuthenticationMiddleware`` in ``MIDDLEWARE``. Runs no query: the user is read only when a trigger
    needs it.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._answer(request)
        with acting_as(lambda: getattr(request, "user", None)):
            response: HttpResponseBase = self.get_response(request)
            return response

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        # Not request.auser(): signals are received by plain functions.
        with acting_as(lambda: getattr(request, "user", None)):
            response: HttpResponseBase = await self.get_response(request)
            return response
