"""The mixin for test cases."""

import logging
import unittest

import requests
from django.contrib.auth.models import User
from django.test import SimpleTestCase, TestCase

from django_openrouter_auth.shortcuts import get_session
from django_openrouter_auth.testing import KEY, OpenRouterTestMixin, connect

from ..connecting import API


class MixinTests(OpenRouterTestMixin, TestCase):
    def test_openrouter_answers(self):
        """A test case has OpenRouter without any more ado."""
        user = User.objects.create_user("ann")
        connect(user)
        self.openrouter.answers("Fine.")
        assert get_session(user).post("chat/completions").ok
        assert self.openrouter_leaks.records

    def test_calls_are_its_own(self):
        """Each test begins without calls."""
        assert self.openrouter.calls == []


class SimpleMixinTests(OpenRouterTestMixin, SimpleTestCase):
    def test_no_database_is_needed(self):
        """A test case without database is searched without it."""
        assert requests.get(f"{API}/key", timeout=1).ok


def test_leak_fails_a_test_case():
    """A test case during which a key leaks fails, and names the place."""

    class LeakyTests(OpenRouterTestMixin, SimpleTestCase):
        def test_leak(self):
            logging.getLogger("chat").info(KEY)

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(LeakyTests).run(result)
    [(_, report)] = result.failures + result.errors
    assert "KEY in log of chat" in report
