"""Runs whose supervisor was killed after the end, before it had told anybody of it."""

from sqlalchemy import Engine

from maejobs.home import Home
from maejobs.launch.process import boot_id, host_name, is_alive
from maejobs.notify import unpinged
from maejobs.rundb.directory import read_record
from maejobs.rundb.queries import runs_by_id
from maejobs.rundb.run import FINISHED, Run, run_of
from maejobs.watch.renamed import was_here


def untold_runs(home: Home, engine: Engine | None) -> list[Run]:
    """Those whose end is still to be pinged, and nobody left who would. Raises OSError.

    Without a database (None) their directories tell. The note of a run that there never was goes.
    """
    noted = unpinged.noted(home)
    rows = runs_by_id(engine, list(noted)) if engine and noted else {}
    found = []
    for name, job in noted.items():
        run = run_of(rows[name]) if name in rows else read_record(home.runs_dir / job / name)
        if run is None:
            if engine:
                unpinged.forget(home, name)
        elif run.state in FINISHED and not _is_seen_to(home, run):
            found.append(run)
    return found


def _is_seen_to(home: Home, run: Run) -> bool:
    if run.host != host_name() and not was_here(home, run):
        return True
    return run.boot_id == boot_id() and is_alive(run.supervisor_pid, run.supervisor_started)
