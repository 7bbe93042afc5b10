"""What stands in for a mail server, Telegram's Bot API and an SMS provider. On this machine only; nothing is delivered.

``smtp`` is a thread of whoever uses it. ``bot_api`` and ``sms`` are programs of their own, which ``program`` starts.
"""
