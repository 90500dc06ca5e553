"""Brings a database to this version with Alembic; the only module that imports it."""

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from maejobs.home import Home
from maejobs.rundb.database import open_engine, protect_file
from maejobs.shipped import shipped


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(shipped("migrations")))
    return config


def head() -> str | None:
    """The newest revision in `migrations/`."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def upgrade(home: Home, revision: str = "head") -> None:
    """Make or bring up the home's database; several at once are safe (one transaction)."""
    _migrate(home, revision, downgrade=False)


def downgrade(home: Home, revision: str) -> None:
    """Take the home's database back to `revision`; what only newer ones hold is lost."""
    _migrate(home, revision, downgrade=True)


def _migrate(home: Home, revision: str, downgrade: bool) -> None:
    engine = open_engine(home.database_url)
    config = _config()
    move = command.downgrade if downgrade else command.upgrade
    try:
        with engine.begin() as connection:
            protect_file(home)
            config.attributes["connection"] = connection
            move(config, revision)
    finally:
        engine.dispose()
