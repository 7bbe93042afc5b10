"""The Django signal that this package sends."""

from __future__ import annotations

from django.dispatch import Signal

#: An SMS came to one of our numbers, and the provider's signature was right.
#:
#: Arguments: ``messenger`` (the alias), ``number`` (the sender's, E.164), ``text``, ``kind`` (``"stop"``, ``"start"``,
#: ``"help"``, or empty), ``to`` (which of our numbers), ``message_id`` (the provider's), ``raw`` (all that the provider
#: said). Sender: ``SMSMessenger``. A receiver may be called twice for the same message: see the README.
sms_received = Signal()
