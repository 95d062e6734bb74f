"""Checks on one GPU, in some minutes, all that could not be tried without one.

It needs PyTorch and timm, no network and no other data than what comes with packages. Each part has a verdict of its
own; one that fails, or lacks a package, does not stop the others. Writes docs/benchmarks/gpu.json and gpu.md.

    python benchmarks/gpu_check.py            # or: make gpu-check
    python benchmarks/gpu_check.py --tiny     # on any CPU, to see that the parts work
"""

import argparse
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Sequence
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "benchmarks"
# Deterministic products on a GPU ask for this before CUDA starts.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

PARTS = {
    "losses are exact": "losses:exactness",
    "collectives": "processes:collectives",
    "one job at a time": "processes:locks",
    "resumption": "training:resumption",
    "step against a bare one": "speed:step",
    "losses' time and memory": "losses:cost",
    "gradient caching": "encoders:caching",
    "the smallest experiment": "training:smallest_experiment",
    "images against the step": "speed:images",
    "torch.compile": "encoders:compiled",
}
"""By name, ``module:function`` in ``benchmarks/gpu``; what takes long comes last."""
BUDGET = 480.0
"""Seconds after which no further part begins."""


def check(device: torch.device, tiny: bool, names: Sequence[str], budget: float = BUDGET) -> list[dict[str, Any]]:
    """Runs parts.

    Args:
        device: where.
        tiny: in a size for a CPU.
        names: keys of :data:`PARTS`.
        budget: seconds after which no further part begins.

    Returns:
        For each part its name, ``verdict`` (``passed``, ``failed`` or ``not run``), what it says, seconds and rows.
    """
    from benchmarks.gpu.verdict import Setting

    found, begun = [], time.monotonic()
    for name in names:
        module, _, function = PARTS[name].partition(":")
        started = time.monotonic()
        rows: list[dict[str, Any]] = []
        try:
            if started - begun > budget:
                raise TimeoutError(f"{budget:.0f} s are over")
            given = getattr(import_module(f"benchmarks.gpu.{module}"), function)(Setting(device, tiny))
            verdict, said, rows = "passed" if given.passed else "failed", given.says, given.rows
        except (ImportError, TimeoutError) as error:
            verdict, said = "not run", str(error)
        except Exception as error:
            traceback.print_exc()
            verdict, said = "failed", f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        except SystemExit:
            verdict, said = "not run", "a package of the pipeline is missing"
        seconds = round(time.monotonic() - started, 1)
        found.append({"part": name, "verdict": verdict, "says": said, "seconds": seconds, "rows": rows})
        print(f"{verdict:8} {name} ({seconds} s): {said}", flush=True)
    return found


def machine(device: torch.device) -> dict[str, str]:
    """Says what the numbers are of."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    timm = sys.modules.get("timm")
    versions = {"torch": torch.__version__, "CUDA": str(torch.version.cuda), "timm": getattr(timm, "__version__", "–")}
    return {"device": name, "system": platform.platform(), "Python": platform.python_version(), **versions}


def page(about: dict[str, str], parts: list[dict[str, Any]]) -> str:
    """Writes the verdicts, and then all numbers, as Markdown."""
    listing = ", ".join(f"{key} {value}" for key, value in about.items() if key != "device")
    lines = [
        f"# On a GPU\n\nMeasured {date.today()} by `python benchmarks/gpu_check.py` on {about['device']}: {listing}.\n"
    ]
    lines += table([{key: part[key] for key in ("part", "verdict", "says", "seconds")} for part in parts])
    for part in parts:
        if part["rows"]:
            lines += [f"\n## {part['part'].capitalize()}\n", *table(part["rows"])]
    return "\n".join(lines) + "\n"


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Writes rows as Markdown, with the columns that any of them has."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [
        [f"{value:.3g}" if isinstance(value := row.get(key, "–"), float) else str(value) for key in columns]
        for row in rows
    ]
    return [f"| {' | '.join(line)} |" for line in (columns, ["---"] * len(columns), *cells)]


def main() -> None:
    """Runs the parts that are asked for; the exit status is 1 if one has failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tiny", action="store_true", help="a small size, on the CPU; writes no page unless told where"
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="NAME")
    parser.add_argument("--output", type=Path, help="the folder of gpu.json and gpu.md")
    options = parser.parse_args()
    if not options.tiny and not torch.cuda.is_available():
        parser.exit(2, "There is no GPU that PyTorch can use. On a CPU: --tiny.\n")
    device = torch.device("cpu" if options.tiny else "cuda")
    found = check(device, options.tiny, options.parts)
    about = machine(device)
    if folder := options.output or (None if options.tiny else OUTPUT):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "gpu.json").write_text(json.dumps({"machine": about, "parts": found}, indent=1) + "\n")
        (folder / "gpu.md").write_text(page(about, found), encoding="utf-8")
    sys.exit(any(part["verdict"] == "failed" for part in found))


if __name__ == "__main__":
    main()
