"""A person at a browser that has no window."""

import re
from urllib.parse import parse_qs, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

SITE = "https://app.example"
CONNECTED = "OpenRouter is connected."

HIDDEN = re.compile(r'<input type="hidden" name="([^"]*)" value="([^"]*)"')
META_REFERRER = re.compile(r'<meta name="referrer" content="([^"]*)"')
PATIENCE = 60


class OneMachine(HTTPAdapter):
    """Reach every host at one port of this machine, as if it had all these names."""

    def __init__(self, port):
        self.port = port
        super().__init__()

    def build_connection_pool_key_attributes(self, request, verify, cert=None):
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        pool["server_hostname"] = pool["assert_hostname"] = urlsplit(SITE).hostname
        return {**host, "host": "127.0.0.1", "port": self.port}, pool

    def add_headers(self, request, **kwargs):
        request.headers["Host"] = urlsplit(request.url).netloc


class Visitor:
    """Somebody who signs up, signs in and connects; redirects are followed by hand.

    Args:
        port: where nginx listens for https.
        bundle: the certificate authority that the browser trusts.
        origin: the site's origin as the address bar shows it.
    """

    def __init__(self, port, bundle, origin=SITE):
        self.port, self.bundle, self.origin = port, bundle, origin
        self.http = requests.Session()
        self.http.trust_env = False
        self.http.verify = str(bundle)
        self.http.mount("https://", OneMachine(port))

    def twin(self):
        """Return another tab of this browser: the same cookies, a connection of its own."""
        tab = Visitor(self.port, self.bundle, self.origin)
        tab.http.cookies.update(self.http.cookies)
        return tab

    def get(self, url):
        """Open an address; a relative one is the site's."""
        url = urljoin(self.origin, url)
        return self.http.get(url, allow_redirects=False, timeout=PATIENCE)

    def follow(self, answer):
        """Go where a redirect leads."""
        return self.get(urljoin(answer.url, answer.headers["Location"]))

    def submit(self, page, action=None, headers=None, **fields):
        """Send the form of a page, with its hidden fields."""
        return self.http.post(
            urljoin(page.url, action),
            {**dict(HIDDEN.findall(page.text)), **fields},
            headers={**_provenance(page), **(headers or {})},
            allow_redirects=False,
            timeout=PATIENCE,
        )

    def sign_in(self, name):
        """Sign up and sign in; return the first page."""
        fields = {"password1": "countess of lovelace", "password2": "countess of lovelace"}
        created = self.submit(self.get("/accounts/sign-up/"), username=name, **fields)
        assert created.headers["Location"] == "/accounts/login/", created.text
        form = self.get("/accounts/login/")
        entered = self.submit(form, username=name, password=fields["password1"])
        assert entered.headers["Location"] == "/", entered.text
        return self.get("/")

    def press(self, page, **headers):
        """Press the button on the first page."""
        return self.submit(page, "/openrouter/connect/", headers)

    def start(self, page):
        """Press the button; return where the site sends the browser, and for which callback."""
        location = self.press(page).headers["Location"]
        return location, parse_qs(urlsplit(location).query)["callback_url"][0]

    def consent(self, location):
        """Sign in at OpenRouter and say yes; return where OpenRouter sends the browser."""
        sign_in = self.follow(self.get(location))
        page = self.follow(self.submit(sign_in, account="ada@example.com"))
        return self.submit(page, decision="authorize", name="A site").headers["Location"]

    def connect(self, name):
        """Go all the way; return the page at its end."""
        location, _ = self.start(self.sign_in(name))
        return self.arrive(self.consent(location))

    def arrive(self, callback):
        """Come back from OpenRouter; return the page that tells the outcome."""
        answer = self.get(callback)
        assert answer.status_code == 303, answer.text
        assert "code=" not in answer.headers["Location"]
        return self.get("/openrouter/")


def _provenance(page):
    """Return what browsers tell about the page that a form was on, as its policy has it."""
    found = META_REFERRER.search(page.text)
    policy = found[1] if found else page.headers.get("Referrer-Policy")
    if policy == "no-referrer":
        return {"Origin": "null"}
    parts = urlsplit(page.url)
    return {"Origin": f"{parts.scheme}://{parts.netloc}", "Referer": page.url}
