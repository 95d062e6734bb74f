"""What a record says: one model for those who write records, those who read them, and archives."""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, FiniteFloat

from clce_bench.files import write_json


def parse_time(text: str) -> str:
    """Returns a time that says its zone, as results have it.

    Raises:
        ValueError: it is none.
    """
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(f"{text!r} is a time without a zone")
    return text


Time = Annotated[str, AfterValidator(parse_time)]
"""ISO 8601."""
Seconds = Annotated[FiniteFloat, Field(ge=0)]
MetricName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$")]
"""A column of tables, and a name that MLflow takes."""


class JobDefinition(BaseModel):
    """Everything that defines a result; a job that is run by hand may say less."""

    spec: dict[str, Any] = {}
    inputs: dict[str, str] = {}
    code: str = ""
    upstream: dict[str, str] = {}


class Acceptance(BaseModel):
    """Somebody's word that a change of code alters no result; ``codes`` has ``old`` and ``new`` by stage."""

    who: str
    when: Time
    reason: str
    codes: dict[str, dict[Literal["old", "new"], str | None]]


class JobRecord(BaseModel, extra="allow"):
    """What every job leaves behind.

    Attributes:
        job: what was asked for.
        inputs_sha256: by name, what was read.
        outputs_sha256: by name, what was written.
        modules: by name, a short hash of the code that ran.
        started: when.
        finished: when, where no ``seconds`` say how long it took.
        seconds: how long it took.
        seen: by name, size and time of files at the last look.
        accepted: changes of code since, which somebody declared to alter nothing.
    """

    job: JobDefinition
    inputs_sha256: dict[str, str] = {}
    outputs_sha256: dict[str, str] = {}
    modules: dict[str, str] = {}
    started: Time | None = None
    finished: Time | None = None
    seconds: Seconds | None = None
    seen: dict[str, list[int]] = {}
    accepted: list[Acceptance] = []

    def write(self, path: Path) -> None:
        """Writes what is set, whole or not at all."""
        write_json(path, self.model_dump(exclude_unset=True))


class Environment(BaseModel, extra="allow"):
    """The machine and the packages, from :func:`clce_bench.records.environment.environment`."""

    python: str
    platform: str
    cpu: str
    gpu: str | None
    packages: dict[str, str]
    git_commit: str | None


class CellRecord(JobRecord):
    """``cell.json``: a trained cell."""

    name: str
    status: Literal["done", "diverged"]
    reason: str | None
    started: Time
    seconds: Seconds
    peak_memory_mib: int | FiniteFloat | None
    peak_gpu_memory_mib: int | FiniteFloat | None = None
    runtime: dict[str, Any] = {}
    waiting_for_data: FiniteFloat
    resumed: int = 0
    environment: Environment


class EvaluationRecord(JobRecord):
    """``metrics.json``: a measured cell."""

    status: Literal["done", "diverged"]
    metrics: dict[MetricName, float]
    absent: dict[str, str] = {}
    probe: dict[str, float] | None = None
    overlap: dict[str, Any] = {}
    cell_sha256: dict[str, str]
    started: Time
    seconds: Seconds


class MeasureResult(BaseModel):
    """``measure-NAME.json``: what a further measure found of a cell."""

    metrics: dict[MetricName, FiniteFloat]
    absent: dict[str, str] = {}
    started: Time
    seconds: Seconds


UNREADABLE = JobRecord(job=JobDefinition())
"""Stands for a file that is no record; it fits no job."""
