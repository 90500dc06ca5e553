"""Whether the night's checkpoints are safe: valid where they lie, and copied elsewhere."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from maejobs.digest.facts import Safety
from maejobs.errors import MaejobsError
from maejobs.files import real_path
from maejobs.home import Home
from maejobs.jobs.load import job_names, load_job
from maejobs.jobs.placeholders import expand
from maejobs.keep.checkpoint import CHECKPOINTS, STEP_NAME, StoredCheckpoint, read_checkpoints
from maejobs.supervise.environment import placeholder_values

BACKUP = ["keep", "backup"]
WITH_VALUE = frozenset({"--keep", "--home"})  # options of it that take the next word


def safety_of(campaign: Path, backup: Path | None) -> Safety:
    """How the campaign stands, by its manifests and the sizes of its files: nothing is hashed here.

    Copies were compared with their SHA-256 when they were made. Raises UserError where there is
    no such campaign.
    """
    found = read_checkpoints(campaign)
    step = _newest(found)
    damaged = [one.name for one in found if not one.valid and (step is None or one.step > step)]
    place = backup / real_path(campaign).name if backup else None
    copies = read_checkpoints(place) if place and place.is_dir() else []
    told = str(place) if place else None
    return Safety(campaign.name, step, tuple(damaged), told, _newest(copies))


def campaign_of(checkpoint: str) -> Path | None:
    """The campaign that a checkpoint's path belongs to; None where it is laid out otherwise."""
    path = Path(checkpoint)
    if path.is_absolute() and path.parent.name == CHECKPOINTS and STEP_NAME.fullmatch(path.name):
        return path.parent.parent
    return None


def backups(home: Home) -> dict[Path, list[Path]]:
    """By campaign, where jobs of the home copy it to (`maejobs keep backup`), each place once."""
    found: dict[Path, list[Path]] = {}
    for campaign, place in _backup_jobs(home):
        places = found.setdefault(real_path(campaign), [])
        if place not in places:
            places.append(place)
    return found


def _backup_jobs(home: Home) -> Iterator[tuple[Path, Path]]:
    for name in job_names(home.jobs_dir):
        try:
            job = load_job(home.jobs_dir, name)
        except MaejobsError:
            continue
        values = placeholder_values(home, job, "", Path())
        words = [expand(word, values) for word in job.command]
        places = _behind(list(_without_options(words)), BACKUP)
        if len(places) >= 2:
            yield Path(places[0]), Path(places[1])


def _without_options(words: Iterable[str]) -> Iterator[str]:
    rest = iter(words)
    for word in rest:
        if word in WITH_VALUE:
            next(rest, None)
        elif not word.startswith("-"):
            yield word


def _behind(words: list[str], command: list[str]) -> list[str]:
    """The words behind `command` in `words`; []: it is not there."""
    for begin in range(len(words)):
        if words[begin : begin + len(command)] == command:
            return words[begin + len(command) :]
    return []


def _newest(found: Iterable[StoredCheckpoint]) -> int | None:
    return max((one.step for one in found if one.valid), default=None)
