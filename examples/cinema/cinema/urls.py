"""The pages of the cinema."""

from __future__ import annotations

from django.urls import path

from cinema import views

app_name = "cinema"
urlpatterns = [
    path("", views.programme, name="programme"),
    path("movies/<int:pk>/release/", views.release, name="release"),
    path("movies/<int:pk>/e-mail/", views.preview, name="preview"),
]
