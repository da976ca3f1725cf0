"""What every test runs under, and the browser for those that look at a page."""

import shutil

import pytest
from hypothesis import settings

# The same examples in every run, and no time limit a single example: machines may be shared.
settings.register_profile("braid", derandomize=True, deadline=None)
settings.load_profile("braid")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium, which `make test` installs where it may."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.fail("No chromium, chromium-browser or google-chrome on PATH: install one, this test opens a page in it.")
