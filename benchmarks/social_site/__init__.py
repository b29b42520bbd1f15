"""The same with social-auth-app-django: a backend with PKCE, and the pipeline as it comes.

As in ``docs/comparison.rst``. The key is kept in plain text, in JSON; ``GET /key`` is not asked.
"""
