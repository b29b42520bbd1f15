"""How many examples are tried: few and always the same ones, unless a profile is asked for."""

import pytest
from hypothesis import settings

# Every profile counts in per cent of what `examples()` names. No deadlines: machines are busy.
settings.register_profile("repeatable", max_examples=100, derandomize=True, deadline=None)
settings.register_profile("thorough", max_examples=3_000, deadline=None, print_blob=True)


def pytest_configure(config: pytest.Config) -> None:
    """Load the profile named on the command line, or else the one for every day."""
    settings.load_profile(config.getoption("--hypothesis-profile") or "repeatable")
