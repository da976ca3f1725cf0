"""What every test runs under, and the browser for those that look at a page."""

import shutil

import pytest
from hypothesis import settings

# The same examples in every run, and no time limit a single example: machines may be shared.
settings.register_profile("braid", derandomize=True, deadline=None)
settings.load_profile("braid")

IN_CHECKOUT = ("test_demo.py", "test_learn.py")
"""Snakemake locks the folder that it runs in: these wait for each other."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items):
    """Keep together, where two processes run the tests, a file, which shares fixtures, and what runs in this folder."""
    for item in items:
        together = "checkout" if item.path.name in IN_CHECKOUT else item.path.name
        item.add_marker(pytest.mark.xdist_group(together))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium, which `make test` installs where it may."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.fail("No chromium, chromium-browser or google-chrome on PATH: install one, this test opens a page in it.")
