"""The example project, in processes of its own: it has its own settings and database."""

import importlib.util
import json
import shutil
import socket
import stat
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
from django.core.exceptions import ImproperlyConfigured

from tests.example_site import MANAGE, environment, manage, serve
from tests.processes import free_port

LIVE = {"DEBUG": "0", "OPENROUTER": "real", "SITE_URL": "https://chat.example"}


LOOK = """
import json
from django.conf import settings
from example.urls import urlpatterns

found = {name: getattr(settings, name) for name in dir(settings) if name.isupper()}
found["urls"] = [str(entry.pattern) for entry in urlpatterns]
print(json.dumps(found, default=str))
"""


def look(env):
    """Return the settings of the site, and under ``urls`` its first patterns."""
    done = manage(env, "shell", "--no-imports", "-c", LOOK)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def example_environment():
    """Return the example project's module `example.environment`."""
    path = MANAGE.parent / "example" / "environment.py"
    spec = importlib.util.spec_from_file_location("example_environment", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def is_log(line):
    """Return whether a line is the development server's: a request, or that it watches files."""
    return line.startswith(("[", "Watching for file changes"))


def break_demo_user(env, script):
    """Lock the user of the demo out; the next start repairs that."""
    code = (
        "from django.contrib.auth.models import User; user = User.objects.get(); "
        "user.set_password('other'); user.is_active = False; user.save()"
    )
    done = manage(env, "shell", "--no-imports", "-c", code, script=script)
    assert done.returncode == 0, done.stderr


def sign_in(origin, username, password):
    """Sign in and return the page that follows."""
    cookies = CookieJar()
    browser = build_opener(HTTPCookieProcessor(cookies))
    browser.open(f"{origin}/sign-in/", timeout=30).close()
    token = next(cookie.value for cookie in cookies if cookie.name == "csrftoken")
    form = {"csrfmiddlewaretoken": token, "username": username, "password": password}
    with browser.open(f"{origin}/sign-in/", urlencode(form).encode(), timeout=30) as response:
        return response.read().decode()


@pytest.mark.process
def test_own_tests(tmp_path):
    """Its pages, a conversation with the sandbox, and what it says when something goes wrong."""
    done = manage(environment(tmp_path), "test", "chat", "gallery")
    assert done.returncode == 0, done.stderr
    assert "\nOK\n" in done.stderr


@pytest.mark.process
class TestSettings:
    def test_checks_find_nothing(self, tmp_path):
        done = manage(environment(tmp_path), "check", "--fail-level", "WARNING")
        assert done.returncode == 0, done.stderr

    def test_sandbox_is_the_default(self, tmp_path):
        found = look(environment(tmp_path))
        sandbox = "http://localhost:3000/openrouter-sandbox"
        assert found["OPENROUTER_AUTH_AUTHORIZE_URL"] == f"{sandbox}/auth"
        assert found["OPENROUTER_AUTH_API_URL"] == f"{sandbox}/api/v1"
        assert "http://localhost:3000" in found["SECURE_CSP"]["form-action"]
        assert "openrouter-sandbox/" in found["urls"]

    def test_one_variable_switches_to_the_real_openrouter(self, tmp_path):
        found = look(environment(tmp_path, OPENROUTER="real"))
        assert "OPENROUTER_AUTH_AUTHORIZE_URL" not in found
        assert "OPENROUTER_AUTH_API_URL" not in found
        assert found["SECURE_CSP"]["form-action"] == ["'self'", "https://openrouter.ai"]
        assert "openrouter-sandbox/" not in found["urls"]
        assert "django_openrouter_auth.sandbox" not in found["INSTALLED_APPS"]

    @pytest.mark.parametrize(
        ("variables", "named"),
        [
            ({"OPENROUTER": "reel"}, "OPENROUTER"),
            ({"DEBUG": "maybe"}, "DEBUG"),
            ({"DATABASE_URL": "oracle://ada:hidden@db/chat"}, "DATABASE_URL"),
            ({**LIVE, "OPENROUTER": "sandbox"}, "OPENROUTER=real"),
            ({**LIVE, "SITE_URL": ""}, "SITE_URL"),
            ({**LIVE, "SITE_URL": "http://chat.example"}, "SITE_URL"),
            ({**LIVE, "SECRET_KEY": ""}, "SECRET_KEY"),
            ({**LIVE, "FERNET_KEYS": ""}, "FERNET_KEYS"),
        ],
    )
    def test_settings_that_cannot_be_used_are_named(self, tmp_path, variables, named):
        # `diffsettings` needs the settings and nothing else, so it is quick.
        done = manage(environment(tmp_path, **variables), "diffsettings")
        assert done.returncode != 0
        assert named in done.stderr.strip().splitlines()[-1]
        assert "hidden" not in done.stderr

    def test_gallery_is_for_development(self, tmp_path):
        assert "gallery/" in look(environment(tmp_path))["urls"]
        found = look(environment(tmp_path, **LIVE))
        assert "gallery/" not in found["urls"]
        assert "gallery" not in found["INSTALLED_APPS"]

    def test_ready_to_go_live(self, tmp_path):
        done = manage(environment(tmp_path, **LIVE), "check", "--deploy", "--fail-level", "WARNING")
        assert done.returncode == 0, done.stderr

    def test_development_is_not_ready_to_go_live(self, tmp_path):
        done = manage(environment(tmp_path), "check", "--deploy", "--fail-level", "WARNING")
        assert done.returncode == 1
        assert "security.W018" in done.stderr


class TestDatabaseURL:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            (None, {"ENGINE": "django.db.backends.sqlite3", "NAME": "/here/db"}),
            (
                "sqlite:////var/a%20b.db",
                {"ENGINE": "django.db.backends.sqlite3", "NAME": "/var/a b.db"},
            ),
            (
                "postgres://ada:p%40ss%2Fword@db.example:5433/chat?sslmode=require",
                {
                    "ENGINE": "django.db.backends.postgresql",
                    "NAME": "chat",
                    "USER": "ada",
                    "PASSWORD": "p@ss/word",
                    "HOST": "db.example",
                    "PORT": 5433,
                    "OPTIONS": {"sslmode": "require"},
                },
            ),
            (
                "postgresql:///chat",
                {
                    "ENGINE": "django.db.backends.postgresql",
                    "NAME": "chat",
                    "USER": "",
                    "PASSWORD": "",
                    "HOST": "",
                    "PORT": "",
                    "OPTIONS": {},
                },
            ),
        ],
    )
    def test_parts(self, url, expected):
        assert example_environment().database(url, otherwise="/here/db") == expected

    def test_another_kind(self):
        with pytest.raises(ImproperlyConfigured, match="DATABASE_URL") as caught:
            example_environment().database("mysql://ada:hidden@db/chat", otherwise="/here/db")
        assert "hidden" not in str(caught.value)


@pytest.mark.process
class TestDemo:
    def test_works_twice_and_from_a_path_with_a_space(self, tmp_path):
        """And without any environment variable: it makes its database and its secrets itself."""
        project = tmp_path / "a path with spaces" / "example_project"
        shutil.copytree(
            MANAGE.parent, project, ignore=shutil.ignore_patterns("local", "__pycache__")
        )
        script = project / "manage.py"
        env = environment(tmp_path, DATABASE_URL="", SECRET_KEY="", FERNET_KEYS="")
        for turn in range(2):
            port, log = free_port(), tmp_path / f"site-{turn}.log"
            arguments = ("demo", "--port", str(port))
            with serve(env, f"localhost:{port}", *arguments, log=log, script=script):
                page = sign_in(f"http://localhost:{port}", "demo", "demo")
                refused = manage(env, *arguments, script=script)
            assert "Sign out" in page
            assert refused.returncode == 1
            assert f"Port {port} is taken" in refused.stderr
            told = [line for line in log.read_text().splitlines() if not is_log(line)]
            assert len(told) == 3, told
            assert f"http://localhost:{port}/" in told[0]
            assert "“demo” with the password “demo”" in told[1]
            assert "sandbox" in told[2]
            break_demo_user(env, script)
        for name in ("secret_key", "fernet_keys"):
            mode = (project / "local" / name).stat().st_mode
            assert stat.S_IMODE(mode) == 0o600

    def test_not_for_the_internet(self, tmp_path):
        done = manage(environment(tmp_path, **LIVE), "demo")
        assert done.returncode == 1
        assert "The demo needs DEBUG" in done.stderr

    def test_port_that_is_taken(self, tmp_path):
        with socket.create_server(("localhost", 0)) as listener:
            port = listener.getsockname()[1]
            done = manage(environment(tmp_path), "demo", "--port", str(port))
        assert done.returncode == 1
        assert f"Port {port} is taken" in done.stderr
        assert f"--port {port + 1}" in done.stderr
