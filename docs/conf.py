"""Settings of Sphinx for the documentation's site: ``make docs``."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from generate import write_reference  # noqa: E402  (beside this file, which is no package)

from clce_bench import __version__  # noqa: E402
from clce_bench.cli.commands import MODULES, cli  # noqa: E402

for verb in MODULES:  # Imported before autodoc does it, whose way of importing pydantic's models do not bear.
    cli.get_command(None, verb)

project = "clce_bench"
author = copyright = "the authors of clce_bench"
release = version = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinxcontrib.mermaid",
]
exclude_patterns = ["_build"]

html_theme = "furo"
html_title = "clce_bench"

myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_use_rtype = False

write_reference(HERE / "reference")
