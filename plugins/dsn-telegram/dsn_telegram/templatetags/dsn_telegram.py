"""``{% load dsn_telegram %}``: the link that users follow to connect their Telegram account."""

from __future__ import annotations

from django import template
from django.urls import reverse

from dsn_telegram.options import NAME

register = template.Library()


@register.simple_tag
def telegram_connect_url(messenger: str = NAME) -> str:
    """The address of the page with a fresh one-time link: ``<a href="{% telegram_connect_url %}">``.

    The token is made when the page is opened, so that this tag asks neither the database nor Telegram, and a
    page that stays open does not go stale.
    """
    return reverse("dsn_telegram:connect", kwargs={"messenger": messenger})
