"""A site that runs, for tests about the looks of the pages."""

import shutil
import sqlite3
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from tests.example_site import ROOT, environment, manage, serve
from tests.processes import free_port

TEMPLATES = ROOT / "example_project" / "templates"
LIMITED = {"is_limited": True, "limit": 10, "limit_remaining": 6.5, "limit_reset": "monthly"}


class House:
    """The origin of a site, and its table of keys."""

    def __init__(self, origin, database):
        self.origin = origin
        self._database = database

    def change_key(self, **values):
        """Change what is stored about the only key."""
        names = ", ".join(f'"{name}" = ?' for name in values)
        connection = sqlite3.connect(self._database)
        with connection:
            table = "django_openrouter_auth_openrouterkey"
            changed = connection.execute(f"UPDATE {table} SET {names}", [*values.values()])
            assert changed.rowcount == 1
        connection.close()


@contextmanager
def running_house(folder, *, is_bare=False, templates=None, **settings):
    """Serve the example site.

    Args:
        folder: for its files.
        is_bare: without the base template that gives our pages the look of the site.
        templates: texts of more templates, by name.
        settings: what is different.
    """
    own = folder / "templates"
    shutil.copytree(TEMPLATES, own)
    if is_bare:
        shutil.rmtree(own / "openrouter_auth")
    for name, text in (templates or {}).items():
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_text(text)
    lines = ["from example.settings import *", f"TEMPLATES[0]['DIRS'] = [{str(own)!r}]"]
    lines += [f"{name} = {value!r}" for name, value in settings.items()]
    (folder / "more_settings.py").write_text("\n".join(lines))
    address = f"localhost:{free_port()}"
    env = environment(
        folder,
        DJANGO_SETTINGS_MODULE="more_settings",
        DJANGO_SUPERUSER_PASSWORD="demo",
        SANDBOX_URL=f"http://{address}/openrouter-sandbox",
    )
    user = ("createsuperuser", "--noinput", "--username", "demo", "--email", "a@example.org")
    for command in (("migrate", "--verbosity", "0"), user):
        done = manage(env, *command)
        assert done.returncode == 0, done.stderr
    with serve(env, address, "runserver", "--noreload", address, log=folder / "site.log"):
        yield House(f"http://{address}", folder / "db.sqlite3")


def sign_in(visitor):
    """Sign in, and go to the connection page."""
    visitor.page.goto("/sign-in/?next=/openrouter/")
    visitor.page.locator("[name=username]").fill("demo")
    visitor.page.locator("[name=password]").fill("demo")
    visitor.page.locator("main form button").click()
    visitor.page.wait_for_url("**/openrouter/")


def connect(visitor):
    """Connect at the sandbox, from the connection page."""
    visitor.page.locator("main form button").first.click()
    visitor.click("Continue")
    visitor.click("Authorize")


def states():
    """What may be stored of a key, by name."""
    now = datetime.now(UTC).replace(tzinfo=None)
    soon, past = now + timedelta(days=3), now - timedelta(days=3)
    good = {"status": "active", "expires_at": None, "check_error": "", **LIMITED}
    return {
        "connected": good,
        "nearly used up": good | {"limit_remaining": 0.5},
        "overdrawn": good | {"limit_remaining": -1},
        "unlimited": good | {"is_limited": False, "limit": None, "limit_remaining": None},
        "unknown": good | {"is_limited": None, "limit": None, "limit_remaining": None},
        "expiring": good | {"expires_at": str(soon)},
        "expired": good | {"expires_at": str(past)},
        "in doubt": good | {"check_error": "provider_unavailable"},
        "rejected": good | {"status": "rejected"},
        "unreadable": good | {"status": "unreadable"},
    }
