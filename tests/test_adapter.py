"""What the adapter changes about ``requests``, what it leaves alone, and which origin is ours."""

import pytest
import requests

from django_openrouter_auth import client
from django_openrouter_auth.client import BearerAuth, OpenRouterAdapter, is_ours

HTTPS, HTTP = "https://openrouter.ai/api/v1/key", "http://localhost:9/api/v1/key"


def attributes(url=HTTPS, verify=True, cert=None):
    """Return what a connection for a URL would be made with."""
    request = requests.Request("GET", url).prepare()
    return OpenRouterAdapter().build_connection_pool_key_attributes(request, verify, cert)[1]


def test_trust_store_in_place_of_a_bundle(tmp_path):
    """Connections get the store that was parsed, and nothing that urllib3 would parse again."""
    pool = attributes(verify=str(tmp_path))
    assert pool["ssl_context"] is attributes(verify=str(tmp_path))["ssl_context"]
    assert "ca_certs" not in pool
    assert "ca_cert_dir" not in pool


def test_no_trust_store_without_tls(monkeypatch):
    """Where no certificate is looked at, none is loaded."""
    loaded = []
    monkeypatch.setattr(client, "trust_store", lambda path, changed_at: loaded.append(path))
    attributes(HTTP)
    assert loaded == []
    attributes(HTTPS)
    assert loaded == [requests.certs.where()]


def test_verification_that_is_switched_off():
    """Who switches verification off gets what requests makes of that."""
    pool = attributes(verify=False)
    assert pool["cert_reqs"] == "CERT_NONE"
    assert "ssl_context" not in pool


def test_client_certificate():
    """A certificate of the site's own is passed on."""
    assert attributes(cert=("site.pem", "site.key"))["cert_file"] == "site.pem"


@pytest.mark.parametrize(
    ("api_url", "url"),
    [
        ("https://openrouter.ai/api/v1", "https://openrouter.ai:443/api/v1/key"),
        ("https://openrouter.ai:443/api/v1", "https://openrouter.ai/api/v1/key"),
        ("http://localhost/api/v1", "http://localhost:80/api/v1/key"),
        ("http://localhost:80/api/v1", "http://localhost/api/v1/key"),
    ],
)
def test_default_ports(settings, api_url, url):
    """A default port may be named or not."""
    settings.OPENROUTER_AUTH_API_URL = api_url
    assert is_ours(url)


@pytest.mark.parametrize("url", ["https://openrouter.ai:80/", "https://openrouter.ai:444/"])
def test_other_ports(url):
    """Another port of the host is another origin."""
    assert not is_ours(url)


def test_hidden_key():
    """What is shown of the credentials says that they are hidden."""
    assert repr(BearerAuth("sk-or-v1-" + "0" * 64)) == "BearerAuth(<hidden>)"
