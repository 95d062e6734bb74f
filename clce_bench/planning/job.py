"""One run of one stage: what is asked for, from which files, by which code."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from clce_bench.files import canonical_json
from clce_bench.records.fingerprints import fingerprint

RESULTS = Path("results")
IMAGES = "images"
"""Where a definition says, among what lies upstream, in which state the user's own image files are."""


class Node(NamedTuple):
    """A job's place in the plan."""

    verb: str
    key: str


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
        images: changes with image files of the user's that a data set among the inputs was prepared from.
    """

    verb: str
    spec: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    components: tuple[str, ...] = ()
    upstream: dict[str, str] = field(default_factory=dict)
    output: str = ""
    images: str = ""

    @cached_property
    def code(self) -> str:
        """Fingerprint of the code that decides the result."""
        return fingerprint(self.verb, *self.components)

    @property
    def definition(self) -> dict[str, Any]:
        """Everything that defines the result."""
        upstream = self.upstream | ({IMAGES: self.images} if self.images else {})
        return {"spec": self.spec, "inputs": self.inputs, "code": self.code, "upstream": upstream}

    @property
    def param(self) -> str:
        """Everything that defines the result, as canonical JSON: the job's only parameter."""
        return canonical_json(self.definition)
