"""A headless Chromium for tests of pages: the system's, or the one that ``make browser`` put into the environment."""

import os
import shutil
import sys
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

from tests.helpers.absent import absent


@contextmanager
def chromium():
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    os.environ.setdefault("PLAYWRIGHT_BROWSERS_PATH", str(Path(sys.prefix, "browsers")))
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        except Error as error:
            reason = str(error).strip().splitlines()[0]
            absent(f"no Chromium to look at the page in; apt-get install chromium, or make browser ({reason})")
        yield browser
        browser.close()
