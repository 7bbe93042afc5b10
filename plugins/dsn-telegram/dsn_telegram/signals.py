"""Django signals that the plugin sends. Each is also a verb, of the same name."""

from __future__ import annotations

from django.dispatch import Signal

#: A user connected a Telegram account, and confirmed it on the site.
#: Arguments: ``user``, ``messenger`` (its name or alias). Sender: the user's class.
telegram_connected = Signal()

#: A user disconnected their Telegram account, in the chat or on the site. The same arguments.
telegram_disconnected = Signal()
