"""Models for conditions: a field of each kind, relations to follow, and a child with a key of its own."""

from __future__ import annotations

import uuid

from django.db import connection, models


class Named(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class Label(Named):
    pass


class Vehicle(Named):
    labels = models.ManyToManyField(Label)


class Truck(Vehicle):
    """A multi-table child whose key is not its parent's."""

    number = models.AutoField(primary_key=True)
    vehicle = models.OneToOneField(Vehicle, on_delete=models.CASCADE, parent_link=True)
    cargo = models.ManyToManyField(Label, related_name="trucks")


class Author(Named):
    code = models.CharField(max_length=10, unique=True)
    boss = models.ForeignKey("self", null=True, on_delete=models.SET_NULL)

    @property
    def broken(self) -> str:
        """Fails in the database, as a column does that a deployment has not made yet."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing_such FROM nowhere")
        return ""


class Article(models.Model):
    class Status(models.TextChoices):
        DRAFT = "draft"
        REVIEW = "review"
        PUBLISHED = "published"

    title = models.CharField(max_length=100)
    status = models.CharField(max_length=10, choices=Status, default=Status.DRAFT)
    count = models.IntegerField(default=0)
    double = models.GeneratedField(
        expression=models.F("count") * 2, output_field=models.IntegerField(), db_persist=True
    )
    price = models.DecimalField(max_digits=8, decimal_places=2, default=0)
    rating = models.FloatField(default=0)
    active = models.BooleanField(default=False)
    at = models.DateTimeField(null=True)
    day = models.DateField(null=True)
    time = models.TimeField(null=True)
    span = models.DurationField(null=True)
    reference = models.UUIDField(default=uuid.uuid4)
    data = models.JSONField(default=dict)
    address = models.GenericIPAddressField(null=True)
    attachment = models.FileField(blank=True)
    raw = models.BinaryField(default=b"")
    author = models.ForeignKey(Author, null=True, on_delete=models.SET_NULL)
    editor = models.ForeignKey(Author, null=True, to_field="code", on_delete=models.SET_NULL, related_name="edited")

    def __str__(self) -> str:
        return self.title

    def shout(self) -> str:
        return self.title.upper()

    @property
    def length(self) -> int:
        return len(self.title)

    @property
    def failing(self) -> str:
        raise ZeroDivisionError("on purpose")
