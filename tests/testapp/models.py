"""Models with every shape that matching and storing must cope with."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models


class TestModel1(models.Model):
    """The model of the seed's quick start."""

    __test__ = False

    name = models.CharField(max_length=255)
    extra_field = models.CharField(max_length=255, blank=True)

    def __str__(self) -> str:
        return self.name


class Movie(models.Model):
    """The seed's movie."""

    name = models.CharField(max_length=255)
    audiences = models.ManyToManyField(blank=True, to=settings.AUTH_USER_MODEL)

    def __str__(self) -> str:
        return self.name


class Place(models.Model):
    name = models.CharField(max_length=50)

    def __str__(self) -> str:
        return self.name


class Restaurant(Place):
    """A multi-table child."""

    stars = models.PositiveSmallIntegerField(default=0)


class FamousPlace(Place):
    class Meta:
        proxy = True


class Ticket(models.Model):
    """A UUID for a key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    movie = models.ForeignKey(Movie, on_delete=models.CASCADE, related_name="tickets")
    price = models.DecimalField(max_digits=6, decimal_places=2, default=0)

    def __str__(self) -> str:
        return str(self.id)


class Country(models.Model):
    """A text for a key."""

    code = models.CharField(max_length=2, primary_key=True)
    password = models.CharField(max_length=50, blank=True)

    def __str__(self) -> str:
        return self.code


class Seat(models.Model):
    """A composite key."""

    pk = models.CompositePrimaryKey("row", "number")
    row = models.CharField(max_length=2)
    number = models.IntegerField()

    def __str__(self) -> str:
        return f"{self.row}{self.number}"


class Profile(models.Model):
    """Where addresses other than e-mail live."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="profile")
    phone = models.CharField(max_length=30, blank=True)
    language = models.CharField(max_length=10, blank=True)
    time_zone = models.CharField(max_length=50, blank=True)

    def __str__(self) -> str:
        return str(self.user)
