"""A ``requests.Session`` that calls OpenRouter with a user's key."""

import re
from collections.abc import Callable
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
from django.views.decorators.debug import sensitive_variables

from .client import USER_AGENT, BearerAuth, OpenRouterAdapter, is_ours, of_this_thread
from .conf import app_settings
from .exceptions import OpenRouterAuthError

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class OpenRouterSession(requests.Session):
    """A ``requests.Session`` below ``OPENROUTER_AUTH_API_URL`` that carries one user's key.

    Args:
        api_key: the key; it goes to OpenRouter's origin and nowhere else.
        confirm_rejection: asked after a 401; returns what to raise if OpenRouter really rejects
            the key, else ``None``.
    """

    def __init__(
        self, api_key: str, confirm_rejection: Callable[[], OpenRouterAuthError | None]
    ) -> None:
        super().__init__()
        self.auth = BearerAuth(api_key)
        self._confirm_rejection = confirm_rejection
        self._rejection: OpenRouterAuthError | None = None
        for scheme in ("https://", "http://"):
            self.mount(scheme, of_this_thread(OpenRouterAdapter))
        self.headers["User-Agent"] = USER_AGENT
        for name, value in app_settings.attribution_headers.items():
            # requests would encode the text as latin-1, which most scripts do not fit into.
            self.headers[name] = value.encode()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Resolve a path below the API; refuse a URL of another origin."""
        base = app_settings.API_URL.rstrip("/")
        url = str(request.url).lstrip()
        if not SCHEME.match(url):
            request.url = f"{base}/{url.lstrip('/')}"
        prepared = super().prepare_request(request)
        # Looked at now, because parsers of URLs disagree about what they were given.
        if not is_ours(prepared.url or ""):
            raise requests.exceptions.InvalidURL("This session only talks to OpenRouter's API.")
        return prepared

    # Frames of requests and urllib3 hold the headers, and error reports show frames. Django's are
    # told not to; for all others the frames are cut off and the header is taken away.
    @sensitive_variables()
    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send with the default time limits; raise ``KeyRejected`` once a 401 is confirmed."""
        if self._rejection is not None:
            raise self._rejection.with_traceback(None)
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = tuple(app_settings.TIMEOUT)
        failure: requests.RequestException | None = None
        try:
            response = super().send(request, **kwargs)
        except requests.RequestException as error:
            failure = error
        if failure is not None:
            request.headers.pop("Authorization", None)
            failure.request = failure.response = None
            failure.args = (f"OpenRouter was not reached: {type(failure).__name__}",)
            failure.__cause__ = failure.__context__ = None
            raise failure.with_traceback(None)
        if "charset" not in response.headers.get("Content-Type", ""):
            # requests takes text without a charset for latin-1; OpenRouter's streams are UTF-8.
            response.encoding = "utf-8"
        if response.status_code == 401:
            self._rejection = self._confirm_rejection()
            if self._rejection is not None:
                response.close()
                raise self._rejection
        return response

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Follow redirects inside OpenRouter's origin only: a prompt is nobody else's."""
        try:
            target = super().get_redirect_target(resp)
            here = requests.compat.urljoin(resp.url, target or "")
        except ValueError:
            return None
        return target if is_ours(here) else None

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Keep the key on a redirect inside the origin; requests would ask a netrc file."""

    def close(self) -> None:
        """Leave the connections open: they belong to the thread, not to this session."""
