"""Where runs are recorded and told: the database, what it could not take, and the alerts."""

from collections.abc import Iterator

from maejobs.cli.finding import BAD, GOOD, WARNING, Finding
from maejobs.cli.notify import who_is_told
from maejobs.cli.options import PATIENCE_SECONDS
from maejobs.errors import MaejobsError
from maejobs.home import Home
from maejobs.privilege import acting_as, owner_of


def recorded(home: Home) -> Iterator[Finding]:
    """What there is to say of them."""
    yield _database(home)
    yield from _set_aside(home)
    yield from _alerts(home)


def _database(home: Home) -> Finding:
    from maejobs.rundb.database import open_database, place_of
    from maejobs.rundb.spool import spooled_runs

    try:
        with acting_as(owner_of(home.root)), open_database(home, PATIENCE_SECONDS):
            pass
    except MaejobsError as error:
        return Finding("database", BAD, f"{error} (runs go on; their records are spooled)")
    spooled = len(spooled_runs(home.spool_dir))
    if spooled:
        return Finding("database", WARNING, f"{spooled} spooled records; run `maejobs reconcile`")
    return Finding("database", GOOD, place_of(home))


def _set_aside(home: Home) -> Iterator[Finding]:
    """What lies in the spool or the outbox and nobody will look at again."""
    from maejobs.notify import outbox
    from maejobs.rundb import spool

    if names := spool.set_aside(home.spool_dir):
        why = f"{_counted(names)} set aside in {home.spool_dir}: unreadable, or their slot has"
        why += f" another run; {home.runs_dir} has what their runs wrote. Delete them once you know"
        yield Finding("records", WARNING, why)
    if names := outbox.set_aside(home):
        why = f"{_counted(names)} set aside in {outbox.directory(home)}: unreadable, so nobody was"
        yield Finding("messages", WARNING, f"{why} told. Delete them once you know")


def _counted(names: list[str]) -> str:
    return f"{len(names)} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"


def _alerts(home: Home) -> Iterator[Finding]:
    if not home.configured_notify:
        return
    try:
        yield Finding("alerts", GOOD, who_is_told(home))
    except MaejobsError as error:
        yield Finding("alerts", BAD, f"{error} (nobody is told)")
