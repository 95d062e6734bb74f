"""A headless Chromium for tests of pages."""

import shutil
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright


@contextmanager
def chromium():
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.fail("There is no Chromium, in which this test looks at the page: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
