"""The ``tune`` stage: which settings of each loss validation prefers. It reads no result of the test part."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from clce_bench.errors import UserError
from clce_bench.experiment.cells import Cell
from clce_bench.experiment.expansion import expand
from clce_bench.experiment.schema import Experiment
from clce_bench.experiment.search_space import Space
from clce_bench.experiment.search_trials import (
    Settings,
    distribution,
    optuna_value,
    searched,
    trials_of,
    with_settings,
)
from clce_bench.files import canonical_json, read_json, staged, write_json


class Trial(NamedTuple):
    """Settings of a loss and what became of them.

    Attributes:
        grid: the one that searches.
        loss: its name.
        number: from 0.
        settings: values by name.
        validation: mean accuracy on the validation part after the last epoch, over seeds and folds, in [0, 1]; NaN if
            a run diverged.
        runs: how many.
    """

    grid: str
    loss: str
    number: int
    settings: Settings
    validation: float
    runs: int


def write_choices(experiment: Experiment, output: Path) -> None:
    """Writes ``tuning.json`` (what is chosen), ``tuning.csv`` (every trial) and ``tuning.db`` (Optuna's studies).

    Args:
        experiment: has grids that search, whose cells are trained.
        output: the ``tuning.json``; the others go beside it.

    Raises:
        UserError: the experiment searches nothing, or no trial of a loss has a result.
    """
    if not searched(experiment):
        raise UserError(f"{experiment.name}: no grid of it searches settings: tuning.")
    trials = list(finished_trials(experiment))
    chosen = best(trials)
    choices: dict[str, dict[str, Any]] = {}
    for trial in chosen:
        entry = {"trial": trial.number, "settings": trial.settings, "validation": trial.validation, "runs": trial.runs}
        choices.setdefault(trial.grid, {})[trial.loss] = entry
    rows = [
        {**trial._asdict(), "settings": canonical_json(trial.settings), "chosen": trial in chosen} for trial in trials
    ]
    with staged(output.parent, last=output.name) as folder:
        pd.DataFrame(rows).to_csv(folder / "tuning.csv", index=False)
        _write_studies(experiment, trials, folder / "tuning.db")
        write_json(folder / output.name, choices)


def finished_trials(experiment: Experiment) -> Iterator[Trial]:
    """Reads the validation accuracy of every trial from the histories of its cells.

    Raises:
        UserError: a trial was not trained yet.
    """
    for grid in searched(experiment):
        assert grid.tuning
        for loss in grid.loss:
            for number, settings in enumerate(trials_of(grid.tuning, loss.name)):
                cells = list(expand(experiment, with_settings(grid, loss, settings)))
                values = [_validation(cell) for cell in cells]
                yield Trial(grid.name, loss.name, number, settings, float(np.mean(values)), len(values))


def _validation(cell: Cell) -> float:
    if read_json(cell.directory / "cell.json")["status"] != "done":
        return float("nan")
    return float(pd.read_csv(cell.directory / "history.csv")["validation"].iloc[-1])


def best(trials: list[Trial]) -> list[Trial]:
    """Chooses the trial with the highest validation accuracy of each grid and loss; the earliest of equals.

    Raises:
        UserError: no trial of a loss has a result.
    """
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.grid, trial.loss), []).append(trial)
    chosen = []
    for (grid, loss), members in groups.items():
        known = [trial for trial in members if not np.isnan(trial.validation)]
        if not known:
            raise UserError(f"grids: {grid}: all {len(members)} trials of {loss} diverged; search other settings.")
        chosen.append(max(known, key=lambda trial: trial.validation))
    return chosen


def _write_studies(experiment: Experiment, trials: list[Trial], path: Path) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spaces = {grid.name: grid.tuning.space for grid in searched(experiment) if grid.tuning}
    studies: dict[str, list[Any]] = {}
    for trial in trials:
        studies.setdefault(f"{trial.grid}: {trial.loss}", []).append(_frozen(trial, spaces[trial.grid][trial.loss]))
    for name, members in studies.items():
        study = optuna.create_study(storage=f"sqlite:///{path.absolute()}", study_name=name, direction="maximize")
        study.add_trials(members)


def _frozen(trial: Trial, space: Space) -> Any:
    from optuna.trial import TrialState, create_trial

    diverged = np.isnan(trial.validation)
    return create_trial(
        state=TrialState.FAIL if diverged else TrialState.COMPLETE,
        value=None if diverged else trial.validation,
        params={name: optuna_value(value) for name, value in trial.settings.items()},
        distributions={name: distribution(values) for name, values in space.items()},
    )
