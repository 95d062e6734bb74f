"""Runs the tutorial as a reader does: writes its files, then runs its commands in order."""

import subprocess

from tests.helpers.miniature import ROOT
from tests.helpers.tutorial import commands, write_files

write_files(ROOT)
for command in commands():
    if not command.startswith("make report"):  # It opens a browser.
        print(f"$ {command}", flush=True)
        subprocess.run(["bash", "-c", command], cwd=ROOT, check=True)
assert (ROOT / "results/experiments/mine/report.html").exists()
