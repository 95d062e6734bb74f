"""What grids must be to one another: checked when the experiment is read, before anything runs."""

from importlib.util import find_spec

from clce_bench.components.registry import EXTRAS, MEASURES, OF_CLASSIFIERS, load_dataset
from clce_bench.errors import UserError, unknown
from clce_bench.experiment.dataset_options import ROLES, DatasetOptions, Split
from clce_bench.experiment.hazards import Hazard
from clce_bench.experiment.schema import Experiment, Grid
from clce_bench.experiment.seed_rounds import SeedRounds

SINGLE = (
    "dataset",
    "contrastive_weight",
    "batch_size",
    "backbone",
    "split_seed",
    "images_per_class",
    "label_noise",
    *ROLES[1:],
)
"""Axes of which a grid that searches has one value."""
SMALLEST = 32
"""Pixels: height and width of images that can be corrupted in the common ways."""


def check_grids(experiment: Experiment) -> None:
    """Checks that hazards are compared by audits only, and that searches are fair and settled before they are used.

    Raises:
        UserError: they are not.
    """
    grids = {grid.name: grid for grid in experiment.grids}
    together = [(f"claims: {claim.id}: grids", claim.grid_names) for claim in experiment.claims]
    together += [(f"figures: {one.name}: grid", one.grid) for one in experiment.figures if not one.compares_hazards]
    for key, members in together:
        if any(grids[name].hazards != grids[members[0]].hazards for name in members):
            raise UserError(f"{key}: these grids differ in their hazards; only figures of kind 'audit' compare those.")
    for figure in experiment.figures:
        if figure.compares_hazards and grids[figure.grid[0]].hazards:
            raise UserError(f"figures: {figure.name}: grid: the first grid of an audit must have no hazards.")
    for grid in experiment.grids:
        _check_noise(grid)
        for dataset in grid.dataset:
            options = experiment.options_of(dataset)
            _check_measures(grid, dataset, options)
            _check_split(grid, dataset, options.split)
        if grid.tuning:
            _check_search(grid)
        elif grid.tuned_by:
            _check_tuned(grid, grids)


def _check_measures(grid: Grid, dataset: str, options: DatasetOptions) -> None:
    own = load_dataset(dataset)
    for measure in grid.measures:
        kind, _, other = measure.partition(":")
        if kind in EXTRAS and find_spec(EXTRAS[kind]) is None:
            way_out = f"a library is missing: .venv/bin/pip install -e '.[{kind}]'"
            raise UserError(f"grids: {grid.name}: measures: {measure} is not allowed: {way_out}.")
        if kind == "corruptions" and options.size < SMALLEST:
            allowed = f"Allowed with {measure}: at least {SMALLEST}"
            raise UserError(f"datasets.{dataset}.size: {options.size} is not allowed. {allowed}.")
        if kind in OF_CLASSIFIERS and own.task == "few-shot":
            why = "all images of the classes that it trains on are for training, and none is left to test with"
            allowed = f"Allowed on few-shot sets: {', '.join(sorted(set(MEASURES) - OF_CLASSIFIERS))}"
            raise UserError(f"grids: {grid.name}: measures: {measure} is not allowed on {dataset}: {why}. {allowed}.")
        if other and load_dataset(other).images == own.images:
            raise UserError(
                f"grids: {grid.name}: measures: {measure} is not allowed on {dataset}: its images are these."
            )


def _check_noise(grid: Grid) -> None:
    if any(grid.label_noise) and Hazard.LEAKY_SPLIT in grid.hazards:
        why = "some training images are test images too, whose labels must be right"
        raise UserError(f"grids: {grid.name}: label_noise: not allowed with the hazard leaky-split: {why}.")


def _check_split(grid: Grid, dataset: str, split: Split) -> None:
    if not split.cross_fitting:
        return
    given = "test_folds" if split.test_folds else "class_folds"
    few_shot = load_dataset(dataset).task == "few-shot"
    allowed, what = ("class_folds", "classes") if few_shot else ("test_folds", "images")
    if given != allowed:
        raise UserError(f"datasets.{dataset}.split.{given}: not allowed. Allowed: {allowed}: {what} are divided here.")
    if Hazard.LEAKY_SPLIT in grid.hazards:
        raise UserError(f"grids: {grid.name}: hazards: leaky-split is not allowed with {given}: every image is tested.")


def _check_search(grid: Grid) -> None:
    key, losses = f"grids: {grid.name}", [loss.name for loss in grid.loss]
    if grid.tuned_by or grid.hazards:
        other = "tuned_by" if grid.tuned_by else "hazards"
        raise UserError(f"{key}: {other}: a grid that searches has none.")
    if len(set(losses)) < len(losses):
        raise UserError(f"{key}: loss: a grid that searches has each loss once.")
    if isinstance(grid.seed, SeedRounds):
        raise UserError(f"{key}: seed: {grid.seed} is not allowed: a grid that searches has a list of seeds.")
    for axis in SINGLE:
        if len(getattr(grid, axis)) > 1:
            name = "lambda" if axis == "contrastive_weight" else axis
            raise UserError(f"{key}: {name}: a grid that searches has one; settings are chosen for it.")
    lists = [name for name, value in grid.recipe.items() if isinstance(value, list)]
    if lists:
        raise UserError(f"{key}: recipe.{lists[0]}: a list is not allowed here; search it: tuning.space.")
    assert grid.tuning
    try:
        grid.tuning.check(losses, {f"recipe.{name}" for name in grid.recipe})
    except ValueError as error:
        raise UserError(f"{key}: {error}") from None


def _check_tuned(grid: Grid, grids: dict[str, Grid]) -> None:
    key = f"grids: {grid.name}"
    searches = [name for name, other in grids.items() if other.tuning]
    if grid.tuned_by not in searches:
        raise UserError(f"{key}: tuned_by: {unknown('a grid that searches', grid.tuned_by, searches)}")
    search = grids[grid.tuned_by]
    assert search.tuning
    for loss in grid.loss:
        if loss.name not in search.tuning.space:
            raise UserError(f"{key}: loss: {search.name} does not search settings of {loss.name}.")
        given = {f"recipe.{name}" for name in (*grid.recipe, *loss.recipe)} | set(loss.hyperparameters)
        if both := sorted(given & set(search.tuning.space[loss.name])):
            raise UserError(f"{key}: {both[0]}: {search.name} searches it, so it cannot be given here.")
    if both_seeds := sorted(set(grid.seeds) & set(search.seeds)):
        why = "its runs chose the settings, and what they are compared by must be others"
        raise UserError(f"{key}: seed: {both_seeds[0]} is not allowed: {search.name} has it: {why}.")
