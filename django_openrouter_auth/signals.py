"""What receivers can listen to: told after the fact, they cannot prevent anything.

The sender is always :class:`~django_openrouter_auth.models.OpenRouterKey`. Signals are sent after
the transaction is committed and with ``send_robust()``: a receiver that raises is logged by Django
and harms nothing. No argument carries a key, a code or a ciphertext.
"""

from django.dispatch import Signal

#: A key was stored. Arguments: ``user``; ``key``, its row without the secret; ``replaced``, whether
#: another key was stored for this user before.
key_connected = Signal()

#: The stored copy of a key was deleted. Arguments: ``user``; ``key_hash``, the key's fingerprint.
key_disconnected = Signal()

#: OpenRouter answered 401 about a key that worked before. Arguments: ``user``; ``key``, its row
#: without the secret.
key_rejected = Signal()

#: An attempt ended without a key, also because the user said no. Arguments: ``user``; ``code``,
#: the code of what happened (see the table of exceptions).
connect_failed = Signal()
