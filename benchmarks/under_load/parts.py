"""The three parts of the measurement: each prints its table and returns it for the JSON file."""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import provider, report, site
from .ledger import Ledger
from .soak import soak
from .speed import measure_speed
from .waiting import measure_waiting


@dataclass
class Scene:
    """All that a part works with."""

    arguments: argparse.Namespace
    folder: Path
    provider: provider.Provider
    ledger: Ledger

    def served(self) -> Any:
        """Serve the site as the guide has it."""
        workers = site.Workers("documented", 2, self.arguments.threads, bounded=True)
        return site.served(self.folder, workers, self.provider.api_url)


def _speed(scene: Scene) -> Any:
    arguments = scene.arguments
    with scene.served() as served:
        lines = measure_speed(
            served,
            scene.provider,
            scene.ledger,
            users=arguments.users,
            clients=arguments.clients,
            seconds=arguments.seconds,
        )
    scene.ledger.compare(scene.provider)
    report.print_speed(lines, arguments.clients)
    return [asdict(line) for line in lines]


def _waiting(scene: Scene) -> Any:
    lines = measure_waiting(scene.folder, scene.provider, scene.ledger)
    scene.ledger.compare(scene.provider)
    report.print_waiting(lines)
    return [asdict(line) for line in lines]


def _soak(scene: Scene) -> Any:
    arguments = scene.arguments
    with scene.served() as served:
        made = soak(
            served,
            scene.provider,
            scene.ledger,
            users=arguments.users,
            callbacks=arguments.callbacks,
            clients=arguments.clients,
        )
    report.print_soak(made)
    return {**asdict(made), "verdicts": report.verdicts(made)}


PARTS = {"speed": _speed, "waiting": _waiting, "soak": _soak}


def measure(part: str, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Measure one part with an empty database; return the figures, and what was wrong."""
    site.sign_in(arguments.users)
    ledger = Ledger()
    with provider.running() as openrouter:
        figures = PARTS[part](Scene(arguments, folder, openrouter, ledger))
    for trouble, times in ledger.wrong.items():
        print(f"WRONG, {times} times: {trouble}")
    ran_on = report.versions()
    print(f"\n{ran_on}\n", flush=True)
    return {"figures": figures, "wrong": dict(ledger.wrong), "versions": ran_on}
