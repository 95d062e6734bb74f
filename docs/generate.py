"""Writes the pages of the reference that follow from the code: keys of experiment files, and each kind of component."""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from clce_bench.components.class_source import family
from clce_bench.components.loss_info import LOSSES
from clce_bench.components.registry import CLAIMS, DATASETS, FIGURES, load, load_dataset, load_figure
from clce_bench.data.fetch import readable
from clce_bench.data.requirements import all_files
from clce_bench.data.sources.torchvision_table import KNOWN, NOT_KNOWN
from clce_bench.experiment.claims import packaged_claims
from clce_bench.experiment.json_schema import experiment_schema
from clce_bench.experiment.schema import Experiment
from clce_bench.experiment.strict_yaml import parse_yaml

ROOT = Path(__file__).parent.parent
SECTIONS = {
    "Backbone": "backbone",
    "DatasetOptions": "datasets.NAME",
    "Split": "datasets.NAME.split",
    "Augmentation": "datasets.NAME.augmentation",
    "Episodes": "datasets.NAME.episodes",
    "Recipe": "recipe",
    "Sampler": "recipe.sampler",
    "Runtime": "runtime",
    "Loss.ce": "losses.NAME",
    "Grid": "grids",
    "SeedRounds": "grids.seed",
    "Tuning": "grids.tuning",
    "Range": "grids.tuning.space.LOSS.KEY",
    "Tracking": "tracking",
}
"""Definitions of the schema, by the place of their keys in a file."""


def write_reference(folder: Path) -> None:
    """Writes the generated pages.

    Args:
        folder: of the pages; what did not change is left as it is, so that Sphinx does not read it again.
    """
    folder.mkdir(exist_ok=True)
    pages = {
        "experiment-file": _keys(),
        "losses": _losses(),
        "datasets": _datasets(),
        "figures": _figures(),
        "claims": _claims(),
        "recipes": _recipes(),
    }
    for name, lines in pages.items():
        page, text = folder / f"{name}.md", "\n".join(lines) + "\n"
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


@cache
def _schema() -> dict[str, Any]:
    return experiment_schema()


def _keys() -> Iterator[str]:
    yield "# Keys of an experiment file"
    yield ""
    yield "Every key with what it takes. [An editor](../editors.md) shows the same while you type."
    yield from _section("the file", _schema())
    for name, place in SECTIONS.items():
        yield from _section(f"`{place}`", _schema()["$defs"][name])
    yield "Keys of components have pages: [losses](losses.md), [figures](figures.md), [claims](claims.md)."


def _section(title: str, schema: dict[str, Any]) -> Iterator[str]:
    yield from ("", f"## {title[0].upper()}{title[1:]}", "", _prose(schema.get("description", "")), "")
    yield from _table(schema, schema["properties"])


def _table(schema: dict[str, Any], keys: Iterable[str]) -> Iterator[str]:
    yield from ("| key | takes | default | meaning |", "| --- | --- | --- | --- |")
    for key in keys:
        value = schema["properties"][key]
        required = key in schema.get("required", [])
        default = "required" if required else _literal(value["default"]) if "default" in value else ""
        cells = (f"`{key}`", _takes(value), default, _prose(value.get("description", "")))
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
    yield ""


def _takes(value: dict[str, Any]) -> str:
    """Says in words what a schema takes."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        place = SECTIONS.get(name, name.lower())
        return f"keys of `{place}`" if name in SECTIONS else {"RecipeValues": "keys of `recipe`"}.get(name, place)
    if "enum" in value or "const" in value:
        listed = value.get("enum", [value.get("const")])
        return ", ".join(map(_literal, listed)) if len(listed) < 12 else "a name"
    if "anyOf" in value:
        choices = value["anyOf"]
        if len(choices) == 2 and choices[1].get("items") == choices[0]:
            return f"{_takes(choices[0])}; one or a list"
        words = [words for words in dict.fromkeys(map(_takes, choices)) if words]
        return " or ".join(words) or value.get("type", "")
    if value.get("type") == "array":
        return f"list of {_takes(value.get('items', {}))}"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return f"by name, {_takes(inner)}" if isinstance(inner, dict) and "$ref" in inner else "mapping"
    words = {"number": "number", "integer": "integer", "string": "text", "boolean": "true, false", "null": "nothing"}
    ends = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {value[end]:g}" for end, sign in ends.items() if end in value]
    return " ".join(filter(None, [words.get(value.get("type", ""), "anything"), ", ".join(bounds)]))


def _literal(value: Any) -> str:
    if isinstance(value, dict) and value:
        return "their defaults"
    written = {None: "none", "": "empty", True: "`true`", False: "`false`"}
    return written.get(value) if isinstance(value, str | bool | None) and value in written else f"`{value}`"


def _prose(text: str) -> str:
    """Makes Markdown of a docstring's prose."""
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", text)
    return text.replace("``", "`")


@cache
def _experiments() -> dict[str, Experiment]:
    paths = [ROOT / "config.yaml", *sorted((ROOT / "experiments").glob("*.yaml"))]
    return {str(path.relative_to(ROOT)): Experiment.model_validate(parse_yaml(path.read_text())) for path in paths}


def _used(names: Any) -> str:
    """Says which shipped experiments use a component; ``names`` gives all that an experiment uses."""
    found = [f"`{path}`" for path, experiment in _experiments().items() if names(experiment)]
    return f"Used by {', '.join(found)}." if found else "No experiment that comes with the project uses it."


def _options(definition: str, apart: Iterable[str] = ()) -> Iterator[str]:
    schema = _schema()["$defs"][definition]
    keys = [key for key in schema["properties"] if key not in set(apart)]
    yield from _table(schema, keys) if keys else ("It has no options of its own.", "")


def _rst(text: str) -> Iterator[str]:
    """Shows a docstring up to its sections, formulas included."""
    text = re.split(r"\n(?:Args|Attributes|Returns|Raises):\n", inspect.cleandoc(text))[0]
    yield from ("```{eval-rst}", text.strip(), "```", "")


def _losses() -> Iterator[str]:
    yield from ("# Losses", "", "What is common to all of them, and why: [The losses](../losses.md).", "")
    yield "Scores are repeated from the README and the pages of results, which say which code made them."
    yield ""
    texts = {
        "ce": "Cross-entropy alone, averaged over all views of an image. λ = 0 is the same.",
        "none": "No training: features are measured as the backbone has them.",
    }
    for name, info in LOSSES.items():
        yield from (f"## {name}", "")
        if info.path:
            yield from _rst(ast.get_docstring(next(family(info.path))) or "")
            yield from _options(f"Loss.{name}", ("name", "labels", "recipe"))
            yield f"Source: `{info.path.partition(':')[0].replace('.', '/')}.py`. "
        else:
            yield texts[name]
        yield _used(lambda one, name=name: any(loss.name == name for grid in one.grids for loss in grid.loss))
        yield ""
        yield from _scores(info.label)


def _scores(label: str) -> Iterator[str]:
    """Repeats what a loss scored on the pages of results, row by row."""
    for page in (ROOT / "README.md", *sorted((ROOT / "docs" / "results").glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        title = text.partition("# ")[2].partition("\n")[0]
        place = "The default experiment, in the README" if page.parent == ROOT else f"[{title}](../results/{page.name})"
        for lines in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            header, line, *rows = lines.splitlines()
            names = [name.strip() for name in header.split("|")]
            if "loss" not in names:
                continue
            losses = [row.split("|")[names.index("loss")].strip() for row in rows]
            own = [
                row for row, loss in zip(rows, losses, strict=True) if re.fullmatch(rf"{re.escape(label)}(,.*)?", loss)
            ]
            if own:
                yield from (f"{place}:", "", header, line, *own, "")


def _datasets() -> Iterator[str]:
    yield from ("# Data sets", "", "Where files go and how to add a set: [Data sets](../data.md).", "")
    for name in sorted(DATASETS):
        found = load_dataset(name)
        parts = [f"{found.class_count:,} classes" if found.class_count else ""]
        parts += [f"{found.image_count:,} images" if found.image_count else ""]
        published = [file for _, file in all_files(found)]
        size = readable(sum(file.size for file in published)) if published else "nothing: comes with a package"
        account = "; an account or a licence is needed" if any(not file.urls for file in published) else ""
        rows = {
            "task": found.task,
            "size": ", ".join(filter(None, parts)) or "not known",
            "to download": size + account,
            "source": found.source,
            "licence": found.licence,
            "citation": found.citation,
            "page": f"<{found.page}>" if found.page else "",
        }
        yield from (f"## {name}", "", "| | |", "| --- | --- |")
        yield from (f"| {key} | {value} |" for key, value in rows.items() if value)
        yield from ("", _used(lambda one, name=name: any(name in grid.dataset for grid in one.grids)), "")
    yield from ("## torchvision", "", "Named `torchvision:NAME`, and read by torchvision's own class.", "")
    yield from ("| name | task | classes | images | to download | licence |", "| --- | --- | --- | --- | --- | --- |")
    for name in KNOWN:
        found = load_dataset(f"torchvision:{name}")
        size = readable(sum(file.size for file in found.files)) if all(file.size for file in found.files) else NOT_KNOWN
        by_hand = "" if all(file.urls for file in found.files) else ", by hand"
        images = ", ".join(f"{part} {count:,}".strip() for part, count in KNOWN[name].images.items())
        cells = (f"[{name}]({found.page})", found.task, f"{found.class_count:,}", images, size + by_hand, found.licence)
        yield f"| {' | '.join(cells)} |"
    yield ""


def _figures() -> Iterator[str]:
    yield from ("# Figures", "", "What each shows, and how to add one: [Figures and the report](../figures.md).", "")
    yield from ("## All kinds", "")
    shared = ["kind", "grid", "name", "where"]
    yield from _table(_schema()["$defs"]["Figure.training_curve"], shared)
    for kind in FIGURES:
        yield from (f"## {kind}", "")
        yield from _rst(load_figure(kind).__doc__ or "")
        yield from _options(f"Figure.{kind}", shared)
        yield _used(lambda one, kind=kind: any(figure.kind == kind for figure in one.figures))
        yield ""


def _claims() -> Iterator[str]:
    yield from ("# Claims", "", "How verdicts are reached: [Statistics](../statistics.md).", "")
    for kind, path in CLAIMS.items():
        yield from (f"## Kind {kind}", "")
        yield from _rst(load(path).__doc__ or "")
        yield from _options(f"Claim.{kind}")
    yield from ("## Claims of the papers", "", "`claims: [ID]` asks for one, `claims: all` for all of them.", "")
    for name, claim in packaged_claims().items():
        yield from (f"### {name}", "", f"{claim['statement']} ({claim['paper']}; {claim['place']})", "")
        yield from (claim.get("caveat", ""), "", f"Kind `{claim.get('kind', 'difference')}`.")
        yield _used(lambda one, name=name: any(used.id == name for used in one.claims))
        yield ""


def _recipes() -> Iterator[str]:
    yield from ("# Recipes and augmentations", "", "`recipe: NAME` trains by a recipe; [Training](../training.md).", "")
    for title, file in (("Recipe", "recipes"), ("Augmentation", "augmentations")):
        text = (files("clce_bench") / "data_files" / f"{file}.yaml").read_text(encoding="utf-8")
        for block in re.split(r"\n\n+", text.strip()):
            if name := re.search(r"^([a-z0-9-]+):", block, re.MULTILINE):
                yield from (f"## {title} {name[1]}", "", "```yaml", block, "```", "")
