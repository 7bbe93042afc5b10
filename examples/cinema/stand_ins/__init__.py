"""Stand-ins for a mail server, Telegram's Bot API and an SMS provider. On this machine only; they deliver nothing.

``smtp`` is a thread of the program that uses it. ``program`` starts ``bot_api`` and ``sms``, which are programs.
"""
