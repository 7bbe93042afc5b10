"""The plugin's tables: chats and their pace, messages that stopped half way, and links to connect an account."""

from __future__ import annotations

import datetime

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class Chat(models.Model):
    """A chat that a bot wrote to: when the next message may go there, and whether it moved."""

    bot = models.CharField(max_length=20)
    chat = models.CharField(max_length=40)
    #: Seconds since 1970, by the database's clock, which all workers share.
    free_at = models.FloatField(default=0.0)
    #: The supergroup that the group became. Addresses that cannot be changed still lead there.
    moved_to = models.CharField(max_length=40, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["bot", "chat"], name="dsn_telegram_chat_once")]

    def __str__(self) -> str:
        return f"{self.chat} of bot {self.bot}"


class HalfSent(models.Model):
    """A message of several calls that stopped between two of them: its next attempt goes on from there."""

    bot = models.CharField(max_length=20)
    message_id = models.CharField(max_length=100)
    done = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["bot", "message_id"], name="dsn_telegram_half_sent_once")]

    def __str__(self) -> str:
        return f"{self.message_id}: {self.done}"


class ConnectionRequestQuerySet(models.QuerySet["ConnectionRequest"]):
    def open(self) -> ConnectionRequestQuerySet:
        """Those that can still lead to a connection."""
        return self.filter(confirmed_at=None, expires_at__gt=timezone.now())


class ConnectionRequest(models.Model):
    """A user's way to a connected Telegram account: link made, Start pressed, confirmed on the site.

    The token of the link is not here, only its digest: a reader of the table can use no link.
    """

    messenger = models.CharField(_("messenger"), max_length=100, default="telegram")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", verbose_name=_("user")
    )
    token_digest = models.CharField(max_length=64, unique=True, editable=False)
    #: The page on which the user confirms.
    confirm_url = models.TextField(blank=True, editable=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    #: Of the link until Start is pressed, of the confirmation after that.
    expires_at = models.DateTimeField(_("expires"), editable=False)
    started_at = models.DateTimeField(_("Start pressed"), null=True, blank=True, editable=False)
    chat = models.CharField(_("chat"), max_length=40, blank=True, editable=False)
    account = models.CharField(_("Telegram account"), max_length=200, blank=True, editable=False)
    confirmed_at = models.DateTimeField(_("confirmed"), null=True, blank=True, editable=False)

    objects = ConnectionRequestQuerySet.as_manager()

    class Meta:
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
        ordering = ["-id"]
        indexes = [models.Index(fields=["user", "messenger"], name="dsn_telegram_request_user")]

    def __str__(self) -> str:
        return f"{self.user} {self.account}".strip()

    @property
    def state(self) -> str:
        """Where it stands, in words."""
        if self.confirmed_at:
            return str(_("connected"))
        if self.expires_at <= timezone.now():
            return str(_("expired"))
        return str(_("to be confirmed")) if self.started_at else str(_("waits for Start"))

    @property
    def minutes_left(self) -> int:
        """Whole minutes until it expires, at least 1."""
        left: datetime.timedelta = self.expires_at - timezone.now()
        return max(1, round(left.total_seconds() / 60))
