"""What having the app installed costs each process of a site: importing it and ``setup()``."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from .figures import Figure, Goal, Part
from .versions import ALLAUTH, HANDWRITTEN, OURS, SOCIAL

GOAL = 60.0
NONE = "without"
APPS: dict[str, tuple[str, ...]] = {
    NONE: (),
    OURS.name: ("django_openrouter_auth",),
    HANDWRITTEN.name: ("benchmarks.handwritten",),
    ALLAUTH.name: (
        "allauth",
        "allauth.account",
        "allauth.socialaccount",
        "benchmarks.allauth_site",
    ),
    SOCIAL.name: ("social_django",),
}
NETWORK = (
    *("requests", "urllib3", "httpx", "httpx2", "httpcore", "aiohttp", "http.client"),
    *("openai", "openrouter"),
)
UNWANTED = ("DJANGO_SETTINGS_MODULE", "PYTHONDONTWRITEBYTECODE")
# A site of Django's own apps, and what is asked about; in a process of its own.
SCRIPT = """
import json, sys, time
apps, network = json.loads(sys.argv[1]), json.loads(sys.argv[2])
began = time.perf_counter(), time.process_time()
import django
from django.conf import settings
own = ["admin", "auth", "contenttypes", "sessions", "messages", "staticfiles"]
settings.configure(
    SECRET_KEY="only-for-benchmarks-" + "0123456789" * 4,
    INSTALLED_APPS=[*("django.contrib." + app for app in own), *apps],
    MIDDLEWARE=["allauth.account.middleware.AccountMiddleware"] if "allauth" in apps else [],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    PROVIDER_AUTHORIZE_URL="https://openrouter.ai/auth",
)
django.setup()
took = time.perf_counter() - began[0], time.process_time() - began[1]
loaded = [name for name in network if name in sys.modules]
from django.core import checks
checks.run_checks()
checked = [name for name in network if name in sys.modules]
print(json.dumps({"wall": took[0], "cpu": took[1], "loaded": loaded, "checked": checked}))
"""


def measure(processes: int, folder: Path) -> list[Part]:
    """Set Django up with each version and with none, in turn."""
    made: dict[str, list[dict]] = {name: [] for name in APPS}
    for number in range(processes + 1):
        names = list(APPS)[:: -1 if number % 2 else 1]
        for name in names:
            found = _set_up(APPS[name], folder)
            # The first of each compiles what it imports.
            if number:
                made[name].append(found)
    figures = []
    for clock in ("wall", "cpu"):
        without = median(one[clock] for one in made[NONE])
        figures.append(
            Figure(
                f"added to import and setup(): {clock}",
                {
                    name: [(one[clock] - without) * 1000 for one in runs]
                    for name, runs in made.items()
                    if name != NONE
                },
                "ms",
            )
        )
    early = {
        f"after {after}": _early(made[OURS.name][0][when], made[NONE][0][when])
        for when, after in (("loaded", "setup()"), ("checked", "the system checks"))
    }
    added = {figure.name: figure.median(OURS.name) for figure in figures}
    count = {when: len(names) for when, names in early.items()}
    usual = median(one["wall"] for one in made[NONE]) * 1000
    notes = [f"{processes} processes each way; {usual:.0f} ms with none of the apps"]
    notes += [
        f"network libraries imported by ours {when}: {', '.join(names) or 'none'}"
        for when, names in early.items()
    ]
    goals = [
        Goal("import and setup(): ms added", GOAL, added),
        Goal("network libraries imported early", 0, count),
    ]
    return [Part("Installed, and not used", figures, goals, notes)]


def _early(found: list[str], usual: list[str]) -> list[str]:
    return [name for name in found if name not in usual]


def _set_up(apps: tuple[str, ...], folder: Path) -> dict:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, json.dumps(apps), json.dumps(NETWORK)],
        env={
            **{name: value for name, value in os.environ.items() if name not in UNWANTED},
            "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
            # Compiled once, as it is where a package is installed.
            "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        },
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout)
