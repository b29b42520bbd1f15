"""The same with django-allauth: a provider of its own, PKCE, stored tokens.

As in ``docs/comparison.rst``. allauth keeps the key in plain text, and does not ask ``GET /key``.
"""
