"""The table `[notify]` of maejobs.toml: who is told, and when not."""

from datetime import time
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from maejobs.errors import UserError
from maejobs.home import Home
from maejobs.jobs.load import explain
from maejobs.jobs.model import PingUrl, Text
from maejobs.jobs.units import parse_time_of_day
from maejobs.notify.quiet import QuietHours, parse_quiet_hours
from maejobs.privilege import acting_as, owner_of
from maejobs.trust import read_trusted

WINDOW, NEVER = "window", "never"


def _digest_at(value: object) -> time | str:
    if value in (WINDOW, NEVER):
        return str(value)
    try:
        return parse_time_of_day(value)
    except ValueError:
        raise ValueError(
            f'{value!r} is neither a time of day like "07:00" nor "{WINDOW}" nor "{NEVER}"'
        ) from None


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _all_urls(urls: list[str]) -> list[str]:
    for number, url in enumerate(urls, 1):
        if why := _why_no_url(url):
            raise ValueError(f"number {number} {why}")  # and is not shown: it is a secret
    return urls


def _why_no_url(url: str) -> str | None:
    if not url.isprintable():
        return "holds a control character"
    scheme, separator, rest = url.partition("://")
    if not (separator and rest and scheme.replace("+", "").isalnum()):
        return "is no URL; write it like mailto://…, ntfy://… (https://appriseit.com/services/)"
    return None


class Settings(BaseModel):
    """Who is told. `urls` are apprise's, with what was in `urls_file` behind them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    urls: Annotated[list[str], BeforeValidator(_listed), AfterValidator(_all_urls)] = []
    urls_file: Text | None = None
    ping_base: PingUrl | None = None
    quiet_hours: Annotated[QuietHours, BeforeValidator(parse_quiet_hours)] | None = None
    digest_at: Annotated[time | str, BeforeValidator(_digest_at)] = WINDOW


def read_settings(home: Home) -> Settings:
    """The home's settings. Raises UserError with the place, the nearest key and the mend."""
    if home.unreadable:
        raise UserError(home.unreadable)
    try:
        settings = Settings.model_validate(home.configured_notify)
    except ValidationError as error:
        told = "; ".join(explain(detail, Settings) for detail in error.errors())
        raise UserError(f"{home.config_file}: notify: {told}") from None
    if settings.urls_file is None:
        return settings
    return settings.model_copy(update={"urls": [*settings.urls, *_read_urls(home, settings)]})


def _read_urls(home: Home, settings: Settings) -> list[str]:
    """The URLs in the file that nobody but its owner may read: one a line, `#` begins a comment."""
    path = home.root / (settings.urls_file or "")
    try:
        with acting_as(owner_of(home.root)):
            text = read_trusted(path, private=True).decode("utf-8")
    except UnicodeDecodeError:
        raise UserError(f"notify.urls_file: {path} is not UTF-8") from None
    except OSError as error:
        raise UserError(f"notify.urls_file: {path} cannot be read: {error.strerror}") from error
    urls = []
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        if not line or line.startswith("#"):
            continue
        if why := _why_no_url(line):
            raise UserError(f"notify.urls_file: {path}, line {number} {why}")
        urls.append(line)
    return urls


def shown(url: str) -> str:
    """`url` fit for a screen or a log: any part of it may be a secret, but for the scheme."""
    return f"{url.partition('://')[0]}://***"
