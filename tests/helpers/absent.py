"""What some tests need and not every machine has."""

import os

import pytest


def absent(what):
    """Skips the test with a word; where all tests must run, it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and with CI=true no test is skipped")
    pytest.skip(what)
