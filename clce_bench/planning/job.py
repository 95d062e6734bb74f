"""One run of one stage: what is asked for, from which files, by which code."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from clce_bench.files import canonical_json
from clce_bench.records.fingerprints import fingerprint

RESULTS = Path("results")


# Where the file lies that vouches for a stage's other files, by the key of its job.
OUTPUTS = {
    "dataset": "data/{key}/dataset.json",
    "splits": "splits/{key}/splits.json",
    "episodes": "episodes/{key}/episodes.json",
    "backbone": "backbones/{key}/backbone.json",
    "features": "features/{key}/features.json",
    "train": "cells/{key}/cell.json",
    "tune": "experiments/{key}/tuning.json",
    "evaluate": "cells/{key}/metrics.json",
    "summarize": "experiments/{experiment}/summary.parquet",
    "figures": "experiments/{experiment}/figures/{key}.svg",
    "report": "experiments/{experiment}/report.html",
    "track": "experiments/{experiment}/tracked.json",
}


@dataclass(frozen=True)
class Job:
    """One run of one verb.

    Attributes:
        verb: the stage.
        spec: what is asked for.
        inputs: paths by name.
        components: import paths of what the stage loads by name: loss, data set, figure.
        upstream: by stage, fingerprints of the code that makes what the inputs say.
        output: the file that vouches for all that the job writes.
    """

    verb: str
    spec: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    components: tuple[str, ...] = ()
    upstream: dict[str, str] = field(default_factory=dict)
    output: str = ""

    @cached_property
    def code(self) -> str:
        """Fingerprint of the code that decides the result."""
        return fingerprint(self.verb, *self.components)

    @property
    def definition(self) -> dict[str, Any]:
        """Everything that defines the result."""
        return {"spec": self.spec, "inputs": self.inputs, "code": self.code, "upstream": self.upstream}

    @property
    def param(self) -> str:
        """Everything that defines the result, as canonical JSON: the job's only parameter."""
        return canonical_json(self.definition)
