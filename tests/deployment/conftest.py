import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.databases.with_server import NotInstalledError, running
from tests.deployment.servers import find_nginx, gunicorn, nginx, require_gunicorn
from tests.deployment.visitor import SITE, Visitor
from tests.example_site import PACKAGE, ROOT, environment

# gunicorn believes what a proxy on its own machine says about https. For most sites the proxy is on
# another one, in a container for instance, and the site has to know by itself.
PROXY_ELSEWHERE = ("--forwarded-allow-ips", "192.0.2.1")
THREADS = ("--worker-class", "gthread", "--threads")
# A worker that is busy takes no more: otherwise all requests of a test may land at one.
TWO_EACH = (*THREADS, "2", "--worker-connections", "2", "--keep-alive", "0")


@dataclass
class Database:
    """A database of the server, to be asked without the site's help."""

    url: str

    def connect(self, **options):
        """Return a connection, which commits and closes at the end of a ``with`` block."""
        import psycopg  # few environments have it

        return psycopg.connect(self.url, **options)

    def rows(self, sql, *parameters):
        """Return what one statement finds."""
        with self.connect() as connection:
            return connection.execute(sql, parameters).fetchall()


@dataclass
class Deployment:
    """A site that is being served."""

    env: dict
    port: int
    bundle: Path

    def visitor(self, origin=SITE):
        """Return somebody who has just opened a browser."""
        return Visitor(self.port, self.bundle, origin)

    def manage(self, *arguments):
        """Run a management command as the site's administrator does, with the site's settings."""
        return manage(self.env, *arguments)


def manage(env, *arguments):
    """Run a management command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def configure(folder, database, base, **settings):
    """Write settings on top of others; return the environment of their processes."""
    lines = [f"from {base} import *"]
    lines += [f"{name} = {value!r}" for name, value in settings.items()]
    (folder / "more_settings.py").write_text("\n".join(lines))
    return environment(
        folder,
        PYTHONPATH=os.pathsep.join(map(str, (folder, ROOT, PACKAGE))),
        DJANGO_SETTINGS_MODULE="more_settings",
        DATABASE_URL=database.url,
    )


def migrate(env):
    """Make the tables."""
    done = manage(env, "migrate", "--verbosity", "0")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def databases():
    """PostgreSQL, with a database for the site and one for OpenRouter."""
    with ExitStack() as server:
        try:
            find_nginx()
            require_gunicorn()
            url = server.enter_context(running("postgresql"))
        except NotInstalledError as error:
            # On CI a skipped deployment would look like one that works.
            stop = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            stop(f"{error} not found, so no deployment was tested")
        names = "site", "openrouter"
        with Database(url).connect(autocommit=True) as connection:
            for name in names:
                connection.execute(f"CREATE DATABASE {name}")
        yield {name: Database(url.rpartition("/")[0] + f"/{name}") for name in names}


@pytest.fixture(scope="session")
def openrouter_url(databases, tmp_path_factory):
    """OpenRouter, played by the sandbox on a site of its own, where DEBUG is on."""
    from tests.settings import MIDDLEWARE

    folder = tmp_path_factory.mktemp("openrouter")
    env = configure(
        folder,
        databases["openrouter"],
        "tests.settings",
        MIDDLEWARE=["tests.deployment.site.name_process", *MIDDLEWARE],
    )
    migrate(env)
    # Longer than the tests take: whoever keeps a connection open finds it open.
    options = (*THREADS, "4", "--keep-alive", "120", "django.core.wsgi:get_wsgi_application()")
    with gunicorn(env, folder, *options) as port:
        yield f"http://127.0.0.1:{port}/openrouter-sandbox"


@pytest.fixture(scope="session")
def deploy(databases, openrouter_url, authority, tmp_path_factory):
    """A function that serves the site with settings of its own, behind nginx."""
    base = "tests.deployment.settings"
    migrate(configure(tmp_path_factory.mktemp("site"), databases["site"], base))

    @contextmanager
    def deployed(*options, **settings):
        folder = tmp_path_factory.mktemp("a site")
        addresses = {
            "OPENROUTER_AUTH_AUTHORIZE_URL": f"{openrouter_url}/auth",
            "OPENROUTER_AUTH_API_URL": f"{openrouter_url}/api/v1",
        }
        env = configure(folder, databases["site"], base, **addresses | settings)
        with (
            gunicorn(env, folder, *options, "tests.deployment.wsgi") as site_port,
            nginx(site_port, authority.chain) as port,
        ):
            yield Deployment(env, port, authority.bundle)

    return deployed


@pytest.fixture(scope="session")
def with_site_url(deploy):
    """The site with three workers of two threads, told its origin by ``SITE_URL``."""
    settings = {"OPENROUTER_AUTH_SITE_URL": SITE, "CSRF_TRUSTED_ORIGINS": [SITE]}
    with deploy("--workers", "3", *TWO_EACH, *PROXY_ELSEWHERE, **settings) as site:
        yield site


@pytest.fixture(scope="session")
def with_proxy_header(deploy):
    """The site with two workers without threads, told by nginx that requests are https."""
    header = ("HTTP_X_FORWARDED_PROTO", "https")
    with deploy("--workers", "2", *PROXY_ELSEWHERE, SECURE_PROXY_SSL_HEADER=header) as site:
        yield site


@pytest.fixture(scope="session")
def with_neither(deploy):
    """The site as it is when nobody told it that it is served over https."""
    with deploy(*PROXY_ELSEWHERE, CSRF_TRUSTED_ORIGINS=[SITE]) as site:
        yield site


@pytest.fixture(scope="session")
def with_proxy_beside(deploy):
    """The site that gunicorn tells about https, because nginx is on the same machine."""
    with deploy() as site:
        yield site


@pytest.fixture(scope="session")
def with_any_host(deploy):
    """The site that believes every ``Host`` header, and has ``SITE_URL``."""
    settings = {
        "OPENROUTER_AUTH_SITE_URL": SITE,
        "ALLOWED_HOSTS": ["*"],
        "USE_X_FORWARDED_HOST": True,
        "SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https"),
    }
    with deploy(*PROXY_ELSEWHERE, **settings) as site:
        yield site
