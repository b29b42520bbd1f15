"""The tables."""

import os
import platform
from importlib.metadata import version

from django.db import connection

from .soak import Soak
from .speed import Speed
from .waiting import Served
from .watch import Sample

LIBRARIES = ("Django", "gunicorn", "psycopg", "requests", "cryptography")
GROWTH_LIMIT = 20.0
SESSION_LIMIT = 96
MOST_PENDING = 5
MOST_ATTEMPTS = 26


def versions() -> str:
    """Return what it all ran on, and how busy the machine was."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        database = str(cursor.fetchone()[0]).split(" on ")[0]
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"Python {platform.python_version()}, {libraries}, {database}, "
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}"
    )


def print_speed(lines: list[Speed], clients: int) -> None:
    """Print how fast each kind of request was."""
    print(f"{clients} visitors at a time, each with the next request as soon as one is answered\n")
    head = f"{'provider':>8}  {'request':<11}  {'measured':<15}  {'number':>6}  {'per second':>10}"
    print(f"{head}  {'p50':>7}  {'p95':>7}  {'p99':>7}")
    for line in lines:
        print(
            f"{line.latency:>5.0f} ms  {line.kind:<11}  {line.mix:<15}  {line.requests:>6,}"
            f"  {line.per_second:>10.0f}"
            f"  {line.p50:>4.0f} ms  {line.p95:>4.0f} ms  {line.p99:>4.0f} ms"
        )


def print_waiting(lines: list[Served]) -> None:
    """Print how many pages came while callbacks waited."""
    print(f"{'gunicorn':<32}  {'waiting':>7}  {'pages served':>12}  {'p95':>7}")
    for line in lines:
        p95 = f"{line.p95:.0f} ms" if line.served else "-"
        served = f"{line.served} of {line.pages}"
        print(f"{line.workers:<32}  {line.waiting:>7}  {served:>12}  {p95:>7}")


def print_soak(made: Soak) -> None:
    """Print what was taken up, and whether it grew."""
    samples = made.samples
    shown = {"warmed up": samples[0], "middle": samples[len(samples) // 2], "end": samples[-1]}
    print(f"{'':<34}" + "".join(f"{title:>12}" for title in shown))

    def row(figure: str, values: list[float], unit: str = "") -> None:
        print(f"{figure:<34}" + "".join(f"{value:>12,.0f}" for value in values) + unit)

    row("callbacks", [one.callbacks for one in shown.values()])
    for name in samples[0].rss:
        row(f"{name}: memory", [one.rss[name] for one in shown.values()], " KiB")
        row(f"{name}: open files", [one.descriptors[name] for one in shown.values()])
        row(f"{name}: sockets among them", [one.sockets[name] for one in shown.values()])
    for question in samples[0].database:
        values = [one.database[question] for one in shown.values()]
        row(question.replace("_", " "), values)
    print(f"\n{made.per_second:.0f} callbacks a second")
    for verdict, met in verdicts(made).items():
        print(f"{verdict}: {'yes' if met else 'NO'}")


def verdicts(made: Soak) -> dict[str, bool]:
    """Return what "no growth" means here, and whether it is so."""
    first, middle, end = made.samples[0], made.samples[len(made.samples) // 2], made.samples[-1]
    growth = {name: made.growth(name) for name in end.rss}
    told = ", ".join(f"{name} {size:+.1f}" for name, size in growth.items())
    of_one_user = end.database["attempts_of_one_user"], end.database["pending_of_one_user"]
    return {
        f"memory grew by at most {GROWTH_LIMIT:.0f} KiB per 1,000 callbacks over the second half"
        f" ({told})": max(growth.values()) <= GROWTH_LIMIT,
        "the same processes to the end": first.pids == end.pids,
        "no more open files or sockets than in the middle": not _grew(middle, end),
        "no more database connections than in the middle": end.database["connections"]
        <= middle.database["connections"],
        "no user with more attempts than are kept": of_one_user[0] <= MOST_ATTEMPTS
        and of_one_user[1] <= MOST_PENDING,
        f"no attempts left by the daily job after 31 days ({made.left})": made.left == 0,
        "one session per user": end.database["sessions"] == made.users,
        f"no session more than {SESSION_LIMIT} bytes larger": end.database["largest_session"]
        <= first.database["session_bytes"] + SESSION_LIMIT,
    }


def _grew(middle: Sample, end: Sample) -> bool:
    return any(end.descriptors[name] > middle.descriptors[name] for name in end.descriptors)
