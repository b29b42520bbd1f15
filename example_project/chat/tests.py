"""How a site tests what it builds on the package: the sandbox answers, and no network is needed."""

import io
import json
from unittest.mock import patch

import requests
from django.conf import settings
from django.contrib.auth import get_user_model
from django.test import LiveServerTestCase, TestCase, override_settings

from django_openrouter_auth.exceptions import KeyRejected, KeyUnreadable, NotConnected

MODEL = next(iter(settings.CHAT_MODELS))


class PagesTest(TestCase):
    def test_home_explains_and_offers_the_button(self):
        self.assertContains(self.client.get("/"), "Connect OpenRouter")

    def test_chat_is_for_users(self):
        self.assertRedirects(self.client.get("/chat/"), "/sign-in/?next=/chat/")

    def test_signing_up_signs_in(self):
        account = {"username": "ada", "password1": "of-lovelace", "password2": "of-lovelace"}
        self.assertRedirects(self.client.post("/sign-up/", account), "/")
        self.assertContains(self.client.get("/chat/"), "Connect OpenRouter to chat")

    def test_pages_of_the_package_look_like_the_site(self):
        self.client.force_login(get_user_model().objects.create_user("ada"))
        for path in ("/openrouter/", "/openrouter/connect/", "/openrouter/disconnect/"):
            self.assertContains(self.client.get(path), "Example chat")


class ConversationTest(LiveServerTestCase):
    """With the sandbox over a real connection, as the real OpenRouter would be."""

    def setUp(self):
        provider = f"{self.live_server_url}/openrouter-sandbox"
        self.enterContext(
            override_settings(
                OPENROUTER_AUTH_SITE_URL="http://localhost",
                OPENROUTER_AUTH_AUTHORIZE_URL=f"{provider}/auth",
                OPENROUTER_AUTH_API_URL=f"{provider}/api/v1",
            )
        )
        self.client.force_login(get_user_model().objects.create_user("ada"))
        self.connect()

    def connect(self):
        start = self.client.post("/openrouter/connect/", {"next": "/chat/"})
        sign_in = self.client.get(start.url).url
        self.client.post(sign_in, {"account": "ada@example.com"})
        approval = {"decision": "authorize", "name": "Example chat"}
        callback = self.client.post(start.url, approval)
        self.assertRedirects(self.client.get(callback.url), "/chat/", status_code=303)

    def test_answer_is_shown_and_the_conversation_goes_on(self):
        for message in ("Good morning!", "<b>And you?</b>"):
            self.client.post("/chat/", {"message": message, "model": MODEL})
        page = self.client.get("/chat/")
        self.assertContains(page, "You said: “Good morning!”.")
        self.assertContains(page, "You said: “&lt;b&gt;And you?&lt;/b&gt;”.")
        self.client.post("/chat/clear/")
        self.assertNotContains(self.client.get("/chat/"), "Good morning!")

    def test_errors_become_words_and_the_message_is_kept(self):
        cases = [
            (answer(200, {"error": {"code": 502, "message": "Raw."}}), "had a problem"),
            (answer(200, {"error": {"code": "odd"}}), "had a problem"),
            (answer(200, {"choices": [{"message": {"content": None}}]}), "did not answer"),
            (answer(200, {"choices": []}), "did not answer"),
            (answer(200, ["Raw."]), "did not answer"),
            (answer(200, "<html>Raw.", as_json=False), "did not answer"),
            (answer(400, {"error": {"message": "Raw."}}), "choose another model"),
            (answer(401, {"error": {"message": "Raw."}}), "had a problem"),
            (answer(402, {"error": {"message": "Raw."}}), "/settings/credits"),
            (answer(403, {"error": {"message": "Raw."}}), "See your key and its limit"),
            (answer(429, {"error": {"message": "Raw."}}), "wait a minute"),
            (answer(503, "<html>Raw.", as_json=False), "had a problem"),
            (requests.ConnectTimeout("Raw."), "could not be reached"),
            (requests.exceptions.ChunkedEncodingError("Raw."), "could not be reached"),
            (NotConnected(), "Connect it to go on"),
            (KeyRejected(), "Connect again"),
            (KeyUnreadable(), "Connect again"),
        ]
        for outcome, words in cases:
            with self.subTest(words=words), patch("chat.openrouter.get_session") as get_session:
                get_session.return_value.post.side_effect = [outcome]
                message = {"message": "Are you there?", "model": MODEL}
                page = self.client.post("/chat/", message, follow=True)
                self.assertContains(page, words)
                self.assertContains(page, "Are you there?", count=1)
                self.assertNotContains(page, "Raw.")


def answer(status, body, *, as_json=True):
    """Return a response of OpenRouter's API."""
    response = requests.Response()
    response.status_code = status
    response.raw = io.BytesIO((json.dumps(body) if as_json else body).encode())
    return response
