"""Verbs that use what was trained."""

import json
from pathlib import Path
from typing import Any

import click

from clce_bench.errors import UserError


@click.command()
@click.argument("cell")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--top", default=1, show_default=True, type=click.IntRange(min=1), help="Classes per image.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, an object per image.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or mps.")
def predict(cell: str, images: tuple[Path, ...], top: int, as_json: bool, device: str) -> None:
    """Classify IMAGES with the trained cell CELL: its folder, its name or the start of its name.

    A file that is no image is named; the others get an answer, and the exit status is 2.

    Example: clce-bench predict clce_bs64_lam0.9_s0 cat.png dog.jpg --top 3
    """
    from clce_bench.data.decode import DamagedImage
    from clce_bench.inference.trained_cell import load_cell

    trained = load_cell(cell, device)
    answers: list[dict[str, Any]] = []
    for path in images:
        try:
            (chances,) = trained.predict_proba(path)
        except (DamagedImage, OSError) as error:
            answers.append({"image": str(path), "error": str(error)})
            continue
        best = chances.argsort()[::-1][:top]
        guesses = [{"class": trained.classes[one], "probability": round(float(chances[one]), 6)} for one in best]
        answers.append({"image": str(path), "classes": guesses})
    damaged = [answer["error"] for answer in answers if "error" in answer]
    if as_json:
        click.echo(json.dumps(answers, indent=2, ensure_ascii=False))
    else:
        for answer in answers:
            for guess in answer.get("classes", []):
                click.echo(f"{answer['image']}\t{guess['class']}\t{guess['probability']:.1%}")
    if damaged:
        raise UserError("; ".join(damaged))


@click.command("export-model")
@click.argument("cell")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def export_model(cell: str, folder: Path) -> None:
    """Write the trained cell CELL to FOLDER as timm and the Hugging Face Hub have models, with a model card.

    Example: clce-bench export-model clce_bs64_lam0.9_s0 my-model
    """
    from clce_bench.inference.timm_export import export_cell
    from clce_bench.inference.trained_cell import load_cell

    source = export_cell(load_cell(cell, "cpu"), folder)
    click.echo(f'{folder}: timm.create_model("local-dir:{folder}", pretrained=True) loads it; logits: {source}.')


COMMANDS = (predict, export_model)
