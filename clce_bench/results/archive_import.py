"""Cells from another machine's archive, put beside those that are here."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from clce_bench.data.archives import unpack
from clce_bench.errors import UserError
from clce_bench.execution.run_lock import refuse_if_held
from clce_bench.files import digest, read_json, sha256_of, write_json
from clce_bench.planning.measure_jobs import measure_records
from clce_bench.planning.plan import RESULTS
from clce_bench.planning.stages import COMPUTED_STAGES
from clce_bench.records.job_records import read_record
from clce_bench.records.record_models import CellRecord
from clce_bench.results.archive_manifest import DESCRIPTIONS, Manifest, read_manifest
from clce_bench.results.stored_records import WEIGHTS


@dataclass
class Merged:
    """What an import did, cell by cell.

    Attributes:
        added: cells that were not here.
        completed: cells that were here and got files that they lacked.
        same: cells that are here as they are in the archive.
        replaced: cells that were here with other results and now have the archive's.
        kept: cells that are here with other results and were left so.
    """

    added: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def import_cells(archive: Path, prefer: str | None) -> Merged:
    """Puts the cells of an archive into ``results/``, each whole or not at all, with their times.

    Everything is unpacked and checked first: a hostile or damaged archive, one of other data, or a conflict changes
    nothing.

    Args:
        archive: from :func:`clce_bench.results.archive_export.export_cells`.
        prefer: whose results count where both have other ones: ``archive`` or ``here``; ``None`` stops then.

    Raises:
        UserError: the archive is not one of ours, unsafe, damaged, of other data than those here, or in conflict.
    """
    if not archive.is_file():
        raise UserError(f"{archive}: there is no such file.")
    refuse_if_held()
    place = RESULTS / "cells"
    place.mkdir(parents=True, exist_ok=True)
    temporary = Path(mkdtemp(prefix=".import.", dir=place))
    try:
        unpacked = unpack(archive, temporary / "content")
        manifest = read_manifest(archive, unpacked)
        _compare_data(archive, unpacked, manifest)
        merged = _sort(unpacked, manifest)
        conflicts = merged.replaced
        if conflicts and prefer is None:
            raise UserError(_conflict(archive, conflicts, unpacked))
        if prefer == "here":
            merged.kept, merged.replaced = conflicts, []
        for name in merged.added + merged.replaced:
            _replace(unpacked / name, Path(name), temporary)
        for name in merged.completed:
            for path in _lacking(unpacked / name, Path(name)):
                path.replace(Path(name, path.name))
        settings = Path(manifest.settings)
        if not settings.exists():
            settings.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(unpacked / settings, settings)
        content = {"archive": archive.name, **manifest.model_dump()}
        write_json(RESULTS / "imports" / f"{manifest.experiment}-{digest(content)}.json", content)
    finally:
        shutil.rmtree(temporary)
    return merged


def _compare_data(archive: Path, unpacked: Path, manifest: Manifest) -> None:
    """Compares what the archive's cells were made from with what is here."""
    differences = []
    for name, file in manifest.files.items():
        # What was computed follows from the rest, and another processor rounds it differently.
        compared = Path(name).name in DESCRIPTIONS.values() and Path(name).stem not in COMPUTED_STAGES
        if compared and Path(name).exists() and sha256_of(Path(name)) != file.sha256:
            theirs, ours = read_json(unpacked / name), read_json(Path(name))
            keys = sorted(key for key in theirs | ours if theirs.get(key) != ours.get(key))
            differences.append(f"{name}: {', '.join(keys)} differ")
    if differences:
        lines = "\n  ".join(differences)
        way_out = "If yours are wrong or not needed, remove their folders and import again."
        raise UserError(f"{archive}: its cells were made from other data than that here:\n  {lines}\n{way_out}")


def _sort(unpacked: Path, manifest: Manifest) -> Merged:
    """Sorts the cells of an archive by what is to be done with them; conflicts are among those to be replaced."""
    merged = Merged()
    for name in manifest.cells:
        if not Path(name, "cell.json").exists():
            merged.added.append(name)
        elif difference(unpacked / name, Path(name)):
            merged.replaced.append(name)
        elif _lacking(unpacked / name, Path(name)):
            merged.completed.append(name)
        else:
            merged.same.append(name)
    return merged


def difference(theirs: Path, ours: Path) -> str:
    """Says in words how the results of a cell in an archive and here differ; nothing if they do not."""
    here, there = read_record(ours / "cell.json"), read_record(theirs / "cell.json")
    if not isinstance(here, CellRecord) or not isinstance(there, CellRecord):
        return "its record here cannot be read"
    if here.job.code != there.job.code:
        return f"trained by other code, {there.job.code[:8]} there and {here.job.code[:8]} here"
    before, after = _bits(there), _bits(here)
    files = [name for name in before if before[name] != after.get(name)]
    if (ours / "metrics.json").exists() and (theirs / "metrics.json").exists():
        metrics, own = (read_json(path / "metrics.json")["metrics"] for path in (theirs, ours))
        unequal = [f"{key} {value:.4g} there and {own.get(key, float('nan')):.4g} here"
                   for key, value in metrics.items() if value != own.get(key)]  # fmt: skip
        if unequal:
            return "; ".join(unequal[:2])
    return f"{', '.join(files)} differ" if files else ""


def _bits(record: CellRecord) -> dict[str, str]:
    """Checksums of what repeats to the bit; a history has times in it."""
    return {name: checksum for name, checksum in record.outputs_sha256.items() if name != "history.csv"}


def _lacking(theirs: Path, ours: Path) -> list[Path]:
    """Lists files of the archive that a cell lacks here and that fit it."""
    own = read_json(ours / "cell.json")["outputs_sha256"]
    names = [WEIGHTS] if read_json(theirs / "cell.json")["outputs_sha256"][WEIGHTS] == own[WEIGHTS] else []
    if (theirs / "metrics.json").exists() and read_json(theirs / "metrics.json")["cell_sha256"] == own:
        names += ["metrics.npz", "metrics.json"]
    for record, measured in measure_records(ours, theirs.glob("measure-*.job.json")).items():
        if not (ours / record.name).exists():
            names += [*sorted(measured.outputs_sha256, reverse=True), record.name]  # What vouches for others is last.
    return [theirs / name for name in names if (theirs / name).exists() and not (ours / name).exists()]


def _conflict(archive: Path, cells: list[str], unpacked: Path) -> str:
    lines = [f"{name}: {difference(unpacked / name, Path(name))}" for name in cells[:10]]
    lines += [f"and {len(cells) - 10} more"] if len(cells) > 10 else []
    options = "--prefer archive takes the archive's, --prefer here keeps yours"
    listing = "\n  ".join(lines)
    return f"{archive}: {len(cells)} cells are here with other results. Nothing was imported; {options}.\n  {listing}"


def _replace(new: Path, place: Path, temporary: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place.rename(Path(mkdtemp(dir=temporary)) / place.name)
    new.rename(place)
