"""What PostgreSQL needs so that nobody waits for it for long: for a lock, or for its server."""

import math
import queue
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL

from maejobs.rundb.database import READS_ONLY

WRITERS_LOCK = int.from_bytes(b"maejobs", "big")  # a number that others are unlikely to take
LONGEST_CONNECT_SECONDS = 10
ENCODING = "UTF8"  # of others have most no room for what a command may tell


def settings_of_the_driver(url: URL, busy_timeout: float) -> dict[str, Any]:
    """What keeps a server that has vanished from being waited for, where the URL says no other.

    And our encoding, whatever it says, or the user's PGCLIENTENCODING; nothing is prepared.
    """
    seconds = max(2, math.ceil(busy_timeout))  # less counts as 2
    settings = {
        "connect_timeout": min(seconds, LONGEST_CONNECT_SECONDS),
        "tcp_user_timeout": seconds * 1000,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
    }
    unsaid = {name: value for name, value in settings.items() if name not in url.query}
    # A pooler between us and the server (PgBouncer) may have another take over what we prepared.
    return unsaid | {"client_encoding": ENCODING, "prepare_threshold": None}


def configure(engine: Engine, busy_timeout: float, answers_within: float | None) -> None:
    """Have each transaction wait so long for locks, and writers take ours; seconds.

    A database of another encoding than ours is refused: a record for which it has no letters would
    be in the way of all others.
    """
    import psycopg

    # Readers too: a table that is altered or packed (VACUUM FULL) keeps even them waiting.
    patience = f"SET LOCAL lock_timeout = {max(1, int(busy_timeout * 1000))}"
    # All digits of an instant: who reads on from one would find its row again, or pass others over.
    exact = "SET LOCAL extra_float_digits = 1"
    first = f"{patience}; {exact}"
    # After the lock a writer must see what the one before has written, whatever the default is.
    latest = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED"
    # Not for a standby: no timeout ends that wait, and a run's directory has its record as well.
    here = "SET LOCAL synchronous_commit = local"
    lock = f"{latest}; {first}; {here}; SELECT pg_advisory_xact_lock({WRITERS_LOCK})"

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:
        found = connection.info.parameter_status("server_encoding")
        if found != ENCODING:
            connection.close()
            raise psycopg.NotSupportedError(
                f"its encoding is {found}; make one with ENCODING '{ENCODING}' TEMPLATE template0"
            )

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        reads_only = connection.get_execution_options().get(READS_ONLY)
        # Not as the rows that follow may be asked for, bit by bit: that is for queries only.
        at_once = {"stream_results": False, "yield_per": None}
        connection.exec_driver_sql(first if reads_only else lock, execution_options=at_once)

    if answers_within is not None:
        _limit_answers(engine, answers_within)


def _limit_answers(engine: Engine, seconds: float) -> None:
    """Close a connection on which a question has had no answer for so long.

    A server that is stuck in its disk gives none, and neither its own timeouts nor the network's
    see that: its kernel goes on confirming what it is sent.
    """
    import psycopg

    class Impatient(psycopg.Connection[Any]):
        def wait(self, gen: Generator[Any, Any, Any], *arguments: Any, **settings: Any) -> Any:
            return super().wait(self._limited(gen), *arguments, **settings)

        def _limited(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
            """`gen`, which the driver wakes ten times a second where there is nothing to read."""
            give_up = time.monotonic() + seconds
            try:
                wanted = next(gen)
                while True:
                    ready = yield wanted
                    if not ready and time.monotonic() > give_up:
                        self.close()
                        raise psycopg.OperationalError(
                            f"the server gave no answer in {seconds:g} s"
                        )
                    wanted = gen.send(ready)
            except StopIteration as end:
                return end.value

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: Any, settings: Any) -> Any:
        return _connected(lambda: Impatient.connect(*arguments, **settings), seconds)


def _connected(connect: Callable[[], Any], seconds: float) -> Any:
    """What `connect` gives, called beside us: nothing ends its wait for a name server."""
    import psycopg

    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    given_up = threading.Event()

    def call() -> None:
        try:
            made = connect()
        except BaseException as error:
            answers.put(error)
        else:
            answers.put(made)
            if given_up.is_set():
                made.close()

    threading.Thread(target=call, daemon=True).start()
    try:
        made = answers.get(timeout=seconds)
    except queue.Empty:
        given_up.set()
        raise psycopg.OperationalError(f"no connection in {seconds:g} s") from None
    if isinstance(made, BaseException):
        raise made
    return made
