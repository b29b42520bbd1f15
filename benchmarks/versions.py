"""The versions that are compared: all in one site, behind the same middleware."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Version:
    """One way to connect.

    Attributes:
        page: the path of its page with a button, where a callback ends, too.
        connect: the path to which the button posts.
        packages: the distributions that it needs beyond Django and requests.
        requests: how many a callback sends to the provider.
    """

    name: str
    page: str
    connect: str
    packages: tuple[str, ...] = ()
    requests: int = 1


# GET /key is the second request.
OURS = Version(
    "ours",
    "/ours_page/",
    "/openrouter/connect/",
    ("cryptography", "django-fernet-fields-v2"),
    requests=2,
)
HANDWRITTEN = Version(
    "hand-written",
    "/handwritten_page/",
    "/handwritten/connect/",
    ("cryptography", "django-fernet-fields-v2"),
)
ALLAUTH = Version(
    "allauth",
    "/allauth_page/",
    "/accounts/openrouter/login/?process=connect&next=/allauth_page/",
    ("django-allauth",),
)
SOCIAL = Version(
    "social-auth",
    "/social_page/",
    "/social/login/openrouter/",
    ("social-auth-app-django", "social-auth-core"),
)
AUTHLIB = Version("Authlib", "/authlib_page/", "/authlib/connect/", ("Authlib",))

ALL = (OURS, HANDWRITTEN, ALLAUTH, SOCIAL, AUTHLIB)
