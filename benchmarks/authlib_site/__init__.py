"""The same with Authlib's Django client: it keeps state and verifier, and makes the exchange.

Views and model are the site's own, in Authlib's way; the key is kept in plain text, as in its
documentation, and ``GET /key`` is not asked.
"""
