"""A plugin of pytest that judges mutants, each in a fork of one process that has loaded everything.

mutmut's own runner begins pytest anew for each mutant, which takes longer than the tests. Here the
tests are collected and the database is made once; each fork inherits both.
"""

import gc
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mutmut.mutation.data import SourceFileMutationData
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.utils.file_utils import change_cwd, walk_mutatable_files

from .covering import Line, Lines, Observer
from .listed import Survivor, describe

SURVIVED, KILLED, NO_TESTS = 0, 1, 33
TOO_LONG = 36
LEFT = (SURVIVED, NO_TESTS)  # none was killed
AT_ONCE = 2
SAME_MODULE = 4  # lines by which a test counts as wider than the one before of its module
INNOCENT = 300  # tests that are run without a mutant before mutants are judged


class Judge:
    """Run each mutant's tests until one fails.

    Args:
        root: the folder in which the folder ``mutants`` is.
        wanted: names of modules, without the package; empty for all.
        patience: how long the tests of a mutant take at most, in seconds of a processor. Those
            that killed others of its function come first, then those that run little else.
        listed: mutants that are known to survive, for which a tenth of that has to do.
    """

    def __init__(
        self, root: Path, wanted: list[str], patience: float, listed: "Counter[Survivor]"
    ) -> None:
        self.root, self.wanted, self.patience, self.listed = root, wanted, patience, listed
        self.files: list[SourceFileMutationData] = []
        self.failed: Any = None
        self.durations: dict[str, float] = defaultdict(float)
        self.tests: dict[Line, set[str]] = defaultdict(set)
        self.widths: Counter[str] = Counter()
        self.imported: set[str] = set()
        self.killers: dict[str, list[str]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and self.failed is None:
            self.failed = report

    def pytest_runtestloop(self, session: Any) -> bool:
        session.config.pluginmanager.unregister(name="terminalreporter")
        # What was called while modules were loaded: no fork can load them once more.
        self.imported = set(state()._stats)
        state()._stats.clear()
        self.items = {item.nodeid: item for item in session.items}
        set_mutant_under_test("")
        # The database is made for the first test that needs one, and kept for all.
        first = next(item for item in session.items if "db" in item.fixturenames)
        list(self.run_all([first]))
        self.durations.clear()
        self.look()
        self.widths.update(test for tests in self.tests.values() for test in tests)
        gc.freeze()
        with change_cwd(self.root):
            for path in walk_mutatable_files():
                if not self.wanted or path.stem in self.wanted:
                    data = SourceFileMutationData(path=path)
                    data.load()
                    self.files.append(data)
            self.judge()
        return True

    def run_all(self, items: list[Any]) -> Iterator[Any]:
        """Run tests, yield each when it is over, and stop at the first that fails."""
        # What the test before left set up for others of its module.
        items[0].session._setupstate.teardown_exact(items[0])
        # A next test, whichever, lets pytest keep what is made once for all tests.
        last = next(item for item in self.items.values() if item is not items[-1])
        for item, following in zip(items, [*items[1:], last], strict=True):
            begun = time.process_time()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self.durations[item.nodeid] = time.process_time() - begun
            yield item
            if self.failed is not None:
                return

    def look(self) -> None:
        """Run every new test without a mutant, in a fork as well, and note what it runs."""
        noted = self.root / "mutants" / "lines.json"
        if noted.exists():
            self.read(noted)
        items = [item for name, item in self.items.items() if name not in self.durations]
        child = os.fork() if items else None
        if child == 0:
            observer = Observer()
            observer.begin()
            for item in self.run_all(items):
                for line in observer.lines:
                    self.tests[line].add(item.nodeid)
                observer.begin()
            lines = [[*line, sorted(tests)] for line, tests in self.tests.items()]
            failure = self.failed and f"{self.failed.nodeid}\n{self.failed.longreprtext}"
            noted.write_text(json.dumps([lines, self.durations, failure]))
            os._exit(0)
        if child:
            os.waitpid(child, 0)
            self.read(noted)

    def read(self, noted: Path) -> None:
        lines, durations, failure = json.loads(noted.read_text())
        if failure:
            noted.unlink()
            sys.exit(f"A test fails without any mutant:\n{failure}")
        for file, number, tests in lines:
            self.tests[file, number].update(test for test in tests if test in self.items)
        self.durations.update(durations)

    def choose(self, name: str, lines: Iterable[Line], patience: float) -> list[str]:
        """Return the tests for a mutant, in the order in which they are run."""
        able = set().union(*(self.tests[line] for line in lines))
        proven = [test for test in self.killers[_function(name)] if test in able]
        # A test that runs less is more likely about this; another one of the same module is less
        # likely to add something.
        before: Counter[str] = Counter()
        order = {}
        for test in sorted(able, key=self.widths.__getitem__):
            module = test.partition("::")[0]
            order[test] = self.widths[test] + SAME_MODULE * before[module]
            before[module] += 1
        chosen: list[str] = []
        left = patience
        for test in [*proven, *sorted(able.difference(proven), key=order.__getitem__)]:
            left -= self.durations[test]
            if chosen and left < 0:
                break
            chosen.append(test)
        return chosen

    def judge(self) -> None:
        """Judge what has no verdict, or survived so far."""
        # A mutant that is none has to survive.
        some = sorted(self.items, key=self.durations.__getitem__)[:INNOCENT]
        self.tests["", 0] = set(some)
        pid, told = self.begin("none__mutmut_0", [("", 0)], self.patience)
        if self.verdict("none__mutmut_0", os.waitpid(pid, 0)[1], told) != SURVIVED:
            sys.exit(f"Fails in a fork: {self.killers['none']}")
        places = {data.path: Lines(Path(data.path)) for data in self.files}
        queue = [
            (data, name)
            for data in self.files
            for name, verdict in data.exit_code_by_key.items()
            if verdict is None or verdict in LEFT
        ]
        running: dict[int, Any] = {}
        total, begun = len(queue), time.monotonic()
        while queue or running:
            while queue and len(running) < AT_ONCE:
                data, name = queue.pop(0)
                is_listed = describe(name, Path(data.path)) in self.listed
                patience = self.patience / 10 if is_listed else self.patience
                pid, told = self.begin(name, places[data.path].of(name), patience)
                running[pid] = (data, name, told)
            pid, status = os.wait()
            data, name, told = running.pop(pid)
            data.exit_code_by_key[name] = self.verdict(name, status, told)
            data.save()
            done = total - len(queue) - len(running)
            if done % 100 == 0 or done == total:
                took = time.monotonic() - begun
                print(f"{done}/{total} mutants after {took:.0f} s", file=sys.__stderr__, flush=True)

    def begin(self, name: str, lines: Iterable[Line], patience: float) -> tuple[int, int]:
        """Fork, and run the tests of a mutant there; return the process and where it tells."""
        tests = self.choose(name, lines, patience)
        told, tell = os.pipe()
        child = os.fork()
        if child:
            os.close(tell)
            return child, told
        bound = int(60 + 10 * sum(self.durations[test] for test in tests))
        resource.setrlimit(resource.RLIMIT_CPU, (bound, bound))
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(2 * bound)
        if not tests:
            os._exit(NO_TESTS)
        forget_answers()
        set_mutant_under_test(name)
        os.chdir(self.root / "mutants")
        try:
            ran = [item.nodeid for item in self.run_all([self.items[test] for test in tests])]
        except BaseException:  # noqa: BLE001 - KeyboardInterrupt too: the mutant raised it
            os._exit(KILLED)
        if self.failed is None:
            os._exit(SURVIVED)
        os.write(tell, ran[-1].encode())
        os._exit(KILLED)

    def verdict(self, name: str, status: int, told: int) -> int:
        """Return how a mutant's process ended, and note the test that killed the mutant."""
        with os.fdopen(told, "rb") as stream:
            test = stream.read().decode()
        if not os.WIFEXITED(status):
            return TOO_LONG
        proven = self.killers[_function(name)]
        if test and test not in proven:
            proven.append(test)
        return os.waitstatus_to_exitcode(status)

    def judge_anew(self, arguments: list[str]) -> None:
        """Judge survivors among what runs while modules are loaded, each in a process of its own.

        Args:
            arguments: those of pytest.
        """
        for data in self.files:
            for name, verdict in data.exit_code_by_key.items():
                if verdict in LEFT and _function(name) in self.imported:
                    data.exit_code_by_key[name] = self.begin_anew(name, arguments)
                    with change_cwd(self.root):
                        data.save()

    def begin_anew(self, name: str, arguments: list[str]) -> int:
        finished = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", *arguments],
            cwd=self.root / "mutants",
            env=os.environ | {"MUTANT_UNDER_TEST": name},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
        return KILLED if finished.returncode else SURVIVED


def _function(name: str) -> str:
    return name.partition("__mutmut_")[0]


def forget_answers() -> None:
    """Empty the caches of functions, where a mutant would find what the unmutated ones answered."""
    for name, module in [*sys.modules.items()]:
        if name.startswith("django_openrouter_auth"):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
