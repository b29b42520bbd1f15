"""A session without a network: where its requests go, and what an error is stripped of."""

import pytest
import requests
from requests.adapters import HTTPAdapter

from django_openrouter_auth.client import OpenRouterAdapter
from django_openrouter_auth.session import OpenRouterSession

KEY = "sk-or-v1-" + "0123456789abcdef" * 4
API = "https://openrouter.ai/api/v1"


@pytest.fixture
def session():
    """A session whose key is fine."""
    return OpenRouterSession(KEY, confirm_rejection=lambda: None)


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_adapter(session, scheme):
    """Whatever goes out goes by the adapter that watches time and trust."""
    assert type(session.get_adapter(f"{scheme}://openrouter.ai/")) is OpenRouterAdapter


@pytest.mark.parametrize(
    ("api_url", "path", "expected"),
    [
        (API, "/key", f"{API}/key"),
        (f"{API}/", "//key", f"{API}/key"),
        (f"{API}/X/", "/X-models", f"{API}/X/X-models"),
    ],
)
def test_address(session, settings, api_url, path, expected):
    """Only slashes are taken away between the address of the API and a path."""
    settings.OPENROUTER_AUTH_API_URL = api_url
    assert session.prepare_request(requests.Request("GET", path)).url == expected


@pytest.mark.parametrize("has_key", [True, False])
def test_failure_is_stripped(session, monkeypatch, has_key):
    """An error holds neither request nor key; it says what kind of error it was."""

    def fail(*args, **kwargs):
        raise requests.ConnectionError(KEY, request=prepared, response=requests.Response())

    monkeypatch.setattr(HTTPAdapter, "send", fail)
    prepared = session.prepare_request(requests.Request("GET", "/key"))
    if not has_key:
        del prepared.headers["Authorization"]
    with pytest.raises(requests.ConnectionError) as caught:
        session.send(prepared)
    assert "Authorization" not in prepared.headers
    assert (caught.value.request, caught.value.response) == (None, None)
    assert str(caught.value) == "OpenRouter was not reached: ConnectionError"


@pytest.mark.parametrize(
    ("content_type", "encoding"),
    [(None, "utf-8"), ("text/plain", "utf-8"), ("text/plain; charset=latin-1", "latin-1")],
)
def test_encoding(session, monkeypatch, content_type, encoding):
    """Text without a charset is UTF-8."""

    def answer(adapter, request, **kwargs):
        response = requests.Response()
        response.status_code, response.request, response.url = 200, request, request.url
        response._content = b""
        if content_type:
            response.headers["Content-Type"] = content_type
            response.encoding = requests.utils.get_encoding_from_headers(response.headers)
        return response

    monkeypatch.setattr(HTTPAdapter, "send", answer)
    assert session.get("/key").encoding == encoding
