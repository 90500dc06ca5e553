"""What is known of a run whose supervisor left its record unfinished, and is gone."""

from maejobs.cli.options import PATIENCE_SECONDS
from maejobs.errors import MaejobsError
from maejobs.home import Home
from maejobs.launch.process import host_name
from maejobs.rundb.run import FINISHED, UNFINISHED, Run, run_of
from maejobs.supervise.claim import has_process


def is_left(run: Run) -> bool:
    """Whether the record of a run of this host is unfinished, and nobody lives who would end it."""
    return run.state in UNFINISHED and run.host == host_name() and not has_process(run)


def settled(home: Home, run: Run) -> Run:
    """The run as its directory tells; one that was left so, as `reconcile` has settled it.

    It tells the database alone, since a supervisor that lives after all writes the directory's.
    """
    if run.state not in UNFINISHED or has_process(run):
        return run
    from maejobs.rundb.database import open_database
    from maejobs.rundb.queries import runs_by_id

    try:
        with open_database(home, PATIENCE_SECONDS) as engine:
            row = runs_by_id(engine, [run.id]).get(run.id)
    except MaejobsError:
        return run
    return run_of(row) if row is not None and row.state in FINISHED else run
