"""Links in pages that the documentation's site does not have; ``make docs`` checks those of the site."""

import re

import pytest

from tests.helpers.miniature import ROOT

PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md", "examples/my_experiment/README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_somewhere(page):
    file = ROOT / page
    targets = re.findall(r"\]\(([^)#\s]+)", file.read_text(encoding="utf-8"))
    inside = [target for target in targets if "://" not in target]
    assert not [target for target in inside if not (file.parent / target).exists()]


def test_each_page_of_the_site_is_where_the_readme_says():
    linked = set(re.findall(r"\]\((docs/[^)#\s]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"docs/tutorial.md", "docs/glossary.md", "docs/how-it-works.md"} <= linked
