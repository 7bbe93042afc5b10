"""The address for providers: ``path("sms/", include("dsn_sms.urls"))``."""

from __future__ import annotations

from django.urls import path

from dsn_sms.views import callback

app_name = "dsn_sms"
urlpatterns = [path("<str:alias>/", callback, name="callback")]
