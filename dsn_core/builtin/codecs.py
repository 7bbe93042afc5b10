"""Codecs for common types of signal arguments."""

from __future__ import annotations

import base64
import datetime
import decimal
import io
import pathlib
import uuid
from typing import Any

from django.core.files.base import File
from django.core.management.base import OutputWrapper
from django.utils.dateparse import parse_duration
from django.utils.duration import duration_iso_string

from dsn_core.builtin import django_codecs
from dsn_core.contracts.codecs import BaseCodec


class DateTimeCodec(BaseCodec):
    """Dates with times, with their offset from UTC."""

    name = "datetime"
    python_type = datetime.datetime

    def encode(self, value: datetime.datetime) -> str:
        return value.isoformat()

    def decode(self, data: str) -> datetime.datetime:
        return datetime.datetime.fromisoformat(data)


class DateCodec(BaseCodec):
    """Dates."""

    name = "date"
    python_type = datetime.date

    def encode(self, value: datetime.date) -> str:
        return value.isoformat()

    def decode(self, data: str) -> datetime.date:
        return datetime.date.fromisoformat(data)


class TimeCodec(BaseCodec):
    """Times of day."""

    name = "time"
    python_type = datetime.time

    def encode(self, value: datetime.time) -> str:
        return value.isoformat()

    def decode(self, data: str) -> datetime.time:
        return datetime.time.fromisoformat(data)


class DurationCodec(BaseCodec):
    """Spans of time."""

    name = "timedelta"
    python_type = datetime.timedelta

    def encode(self, value: datetime.timedelta) -> str:
        return duration_iso_string(value)

    def decode(self, data: str) -> datetime.timedelta | None:
        return parse_duration(data)


class DecimalCodec(BaseCodec):
    """Decimal numbers."""

    name = "decimal"
    python_type = decimal.Decimal

    def encode(self, value: decimal.Decimal) -> str:
        return str(value)

    def decode(self, data: str) -> decimal.Decimal:
        return decimal.Decimal(data)


class UUIDCodec(BaseCodec):
    """UUIDs."""

    name = "uuid"
    python_type = uuid.UUID

    def encode(self, value: uuid.UUID) -> str:
        return str(value)

    def decode(self, data: str) -> uuid.UUID:
        return uuid.UUID(data)


class BytesCodec(BaseCodec):
    """Bytes, as base64."""

    name = "bytes"
    python_type = bytes

    def encode(self, value: bytes) -> str:
        return base64.b64encode(value).decode("ascii")

    def decode(self, data: str) -> bytes:
        return base64.b64decode(data)


class FileCodec(BaseCodec):
    """Files, those of models and uploaded ones, by name; the content is not stored."""

    name = "file"
    python_type = File

    def encode(self, value: File[Any]) -> str | None:
        return value.name

    def decode(self, data: str | None) -> str | None:
        return data


class PathCodec(BaseCodec):
    """Paths of files, as text."""

    name = "path"
    python_type = pathlib.PurePath

    def encode(self, value: pathlib.PurePath) -> str:
        return str(value)

    def decode(self, data: str) -> str:
        return data


class StreamCodec(BaseCodec):
    """Streams, by name."""

    name = "stream"
    # The base that the streams written in C have, too.
    python_type = io.IOBase.__base__

    def encode(self, value: Any) -> str:
        return str(getattr(value, "name", ""))

    def decode(self, data: str) -> str:
        return data


class OutputCodec(StreamCodec):
    """The output of commands, an argument of migration signals, by the name of its stream."""

    name = "output"
    python_type = OutputWrapper


CODECS: list[type[BaseCodec]] = [
    DateTimeCodec,
    DateCodec,
    TimeCodec,
    DurationCodec,
    DecimalCodec,
    UUIDCodec,
    BytesCodec,
    FileCodec,
    PathCodec,
    StreamCodec,
    OutputCodec,
    *django_codecs.CODECS,
]
