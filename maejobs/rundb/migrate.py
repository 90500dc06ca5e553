"""Brings a database to this version with Alembic; the only module that imports it."""

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from maejobs.home import Home
from maejobs.rundb.database import (
    DatabaseUnavailable,
    engine_of,
    explained,
    found_revision,
    other_version,
    place_of,
    protect_file,
)
from maejobs.rundb.schema import REVISION
from maejobs.shipped import shipped


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(shipped("migrations")))
    return config


def head() -> str | None:
    """The newest revision in `migrations/`."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def version_to_upgrade(home: Home) -> str | None:
    """The version of the home's database; None where it has none of ours yet.

    Raises DatabaseUnavailable for one that a newer maejobs, or another program, has brought up.
    """
    found = found_revision(home)
    if found is not None and found > REVISION:
        raise DatabaseUnavailable(other_version(home, found))
    return found


def upgrade(home: Home, revision: str = "head") -> None:
    """Make or bring up the home's database; several at once are safe (one transaction).

    Raises DatabaseUnavailable, e.g. for a database that a newer maejobs has brought up.
    """
    version_to_upgrade(home)
    _migrate(home, revision, downgrade=False)


def downgrade(home: Home, revision: str) -> None:
    """Take the home's database back to `revision`; what only newer ones hold is lost."""
    _migrate(home, revision, downgrade=True)


def _migrate(home: Home, revision: str, downgrade: bool) -> None:
    engine = engine_of(home)
    config = _config()
    move = command.downgrade if downgrade else command.upgrade
    try:
        protect_file(home, engine)
        with explained(home), engine.begin() as connection:
            config.attributes["connection"] = connection
            move(config, revision)
    except CommandError as error:
        raise DatabaseUnavailable(f"run database {place_of(home)}: {error}") from error
    except OSError as error:
        raise DatabaseUnavailable(f"run database {place_of(home)}: {error.strerror}") from error
    finally:
        engine.dispose()
