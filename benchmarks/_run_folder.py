"""What lies in the folder of a run: its result, recipe, files with manifests, and measurements."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgepress.artifact import MANIFEST_ENDING, PROGRAM_FORMAT, Artifact
from edgepress.benchmarks._measurement import MEASUREMENTS_FILE, Measurement, read
from edgepress.errors import BadInput
from edgepress.history import stages_among
from edgepress.result import RECIPE_FILE, RESULT_FILE, RunResult


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Any part may be missing, but not all. `problems` names files that are there and cannot be used."""

    folder: Path
    result: RunResult | None
    artifacts: tuple[Artifact, ...]
    measurements: tuple[Measurement, ...]
    recipe: str
    problems: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> RunFolder:
        """Raises BadInput when the folder is missing or contains nothing to report."""
        if not folder.is_dir():
            raise BadInput(
                f"There is no folder {folder.name!r}.", where=str(folder.absolute()), hint="check the path"
            )
        result = RunResult.load(folder) if (folder / RESULT_FILE).exists() else None
        measured = folder / MEASUREMENTS_FILE
        measurements = tuple(read(measured)) if measured.exists() else ()
        artifacts, problems = _artifacts(folder)
        if result is None and not measurements and not artifacts:
            raise BadInput(
                f"The folder {folder.name!r} contains nothing to report.",
                where=str(folder.absolute()),
                hint=f"edgepress compress -o {folder} makes {RESULT_FILE}",
            )
        recipe = folder / RECIPE_FILE
        return cls(
            folder=folder,
            result=result,
            artifacts=artifacts,
            measurements=measurements,
            recipe=recipe.read_text(encoding="utf-8") if recipe.exists() else "",
            problems=problems,
        )


def is_original(artifact: Artifact) -> bool:
    """Converted perhaps, but not compressed."""
    return not stages_among(artifact.manifest.history.names())


def _artifacts(folder: Path) -> tuple[tuple[Artifact, ...], tuple[str, ...]]:
    """The programs first, then the other formats, the original always before what was made of it."""
    programs = sorted(folder.glob(f"*.{PROGRAM_FORMAT}"))
    manifests = sorted(folder.glob(f"*{MANIFEST_ENDING}"))
    found, problems = [], []
    for path in [*programs, *(file.with_name(file.name.removesuffix(MANIFEST_ENDING)) for file in manifests)]:
        try:
            found.append(Artifact.open(path))
        except BadInput as error:
            problems.append(f"{path.name}: {error.what}")
    found.sort(
        key=lambda artifact: (artifact.format != PROGRAM_FORMAT, artifact.format, not is_original(artifact))
    )
    return tuple(found), tuple(problems)
