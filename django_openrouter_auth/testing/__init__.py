"""What a site's own tests need: users with keys, OpenRouter without network, a search for leaks.

For functions and ``django.test.TestCase``; ``django_openrouter_auth.pytest_plugin`` makes pytest
fixtures of it.
"""

from .cases import OpenRouterTestMixin, openrouter
from .facts import CODE, KEY, OTHER_KEY
from .flow import approve, deny
from .leaks import LeakScan, assert_no_leak, watch_leaks
from .users import connect, create_user, make_unreadable, reject

__all__ = [
    "CODE",
    "KEY",
    "OTHER_KEY",
    "LeakScan",
    "OpenRouterTestMixin",
    "approve",
    "assert_no_leak",
    "connect",
    "create_user",
    "deny",
    "make_unreadable",
    "openrouter",
    "reject",
    "watch_leaks",
]
