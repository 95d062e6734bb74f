"""Grids whose settings are searched, and grids that use what was found.

Which settings a trial has depends on the search, the loss and the trial's number only, so that all trials are cells
that are known before any has run, and one more trial leaves the others what they are.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from clce_bench.experiment.schema import Experiment, Grid, Loss
from clce_bench.experiment.search_space import Range, Tuning
from clce_bench.files import canonical_json
from clce_bench.seeds import seed_for

Settings = dict[str, Any]
"""Values of hyper-parameters, of ``recipe.NAME`` and of ``lambda``."""
Choices = Mapping[str, Mapping[str, Settings]]
"""By tuning grid and loss, the settings that validation chose."""

DIGITS = 3
"""Significant digits of a searched number."""


def trials_of(tuning: Tuning, loss: str) -> list[Settings]:
    """Lists the settings of each trial of a loss, in the order of their numbers.

    A scrambled Sobol sequence fills the space of the numbers evenly, however many trials there are; values of lists
    are drawn at random.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = seed_for("tuning", loss=loss, seed=tuning.seed) % 2**32
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)
    study = optuna.create_study(sampler=sampler)
    # Which dimension of the sequence is whose must not follow from the order in the file.
    space = {name: distribution(values) for name, values in sorted(tuning.space[loss].items())}
    study.tell(study.ask(space), 0.0)  # Optuna draws its first trial at random, to learn what is searched.
    found = []
    for _ in range(tuning.trials):
        trial = study.ask(space)
        found.append({name: _rounded(value, tuning.space[loss][name]) for name, value in trial.params.items()})
        study.tell(trial, 0.0)
    return found


def distribution(values: Range) -> Any:
    """Returns Optuna's distribution of a setting."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if values.choices:
        return CategoricalDistribution([optuna_value(choice) for choice in values.choices])
    assert values.low is not None
    assert values.high is not None
    return FloatDistribution(values.low, values.high, log=values.log)


def optuna_value(value: Any) -> Any:
    """Writes what has parts, such as an augmentation, as JSON: Optuna keeps plain values only."""
    return canonical_json(value) if isinstance(value, dict | list) else value


def _rounded(value: Any, values: Range) -> Any:
    if values.choices or values.low is None or values.high is None:
        return next(
            (own for own in values.choices if isinstance(own, dict | list) and optuna_value(own) == value), value
        )
    return min(max(float(f"{value:.{DIGITS}g}"), values.low), values.high)


def parts_of(grid: Grid, choices: Choices) -> Iterator[Grid]:
    """Yields grids without a search that together are this one: itself, one per trial, or one per chosen setting.

    Args:
        grid: as the experiment says.
        choices: what is decided; a grid that uses what is not decided yet has no parts.
    """
    if grid.tuning:
        for loss in grid.loss:
            for settings in trials_of(grid.tuning, loss.name):
                yield with_settings(grid, loss, settings)
    elif grid.tuned_by:
        for loss in grid.loss if grid.tuned_by in choices else []:
            yield with_settings(grid, loss, choices[grid.tuned_by][loss.name])
    else:
        yield grid


def with_settings(grid: Grid, loss: Loss, settings: Settings) -> Grid:
    """Returns the grid with one of its losses only, which has these settings."""
    recipe = {name.removeprefix("recipe."): value for name, value in settings.items() if name.startswith("recipe.")}
    own = {name: value for name, value in settings.items() if name != "lambda" and not name.startswith("recipe.")}
    changed = Loss(name=loss.name, recipe={**loss.recipe, **recipe}, **{**loss.hyperparameters, **own})
    weight = [settings["lambda"]] if "lambda" in settings else grid.contrastive_weight
    return grid.model_copy(update={"loss": [changed], "contrastive_weight": weight, "tuning": None, "tuned_by": ""})


def searched(experiment: Experiment) -> list[Grid]:
    """Lists the grids that search."""
    return [grid for grid in experiment.grids if grid.tuning]
