"""The app with a site's own user model."""

import os
import subprocess
import sys

import pytest


@pytest.mark.process
def test_user_model_with_a_uuid_and_without_names():
    """A UUID as primary key, an address for a name and no ``is_active`` column are all fine."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.custom_user.walk"],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.custom_user.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")
