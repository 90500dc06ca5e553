"""Cron's clock for who asks in a shell: taken from our own daemon, told where it differs."""

import os
from collections.abc import Iterable
from datetime import datetime, tzinfo

import click

from maejobs import clock
from maejobs.cli.text import visible
from maejobs.cron.fires import ZONE_VARIABLE, host_zone
from maejobs.cron.target import open_target
from maejobs.cron.zone import zone_of_slots
from maejobs.errors import MaejobsError
from maejobs.home import Home


def take_the_daemons_zone(home: Home) -> None:
    """Be in our own daemon's zone, as what it starts is, where it serves the home's table."""
    from maejobs.daemon.alone import is_served
    from maejobs.daemon.marks import heartbeat_file, read_zone

    if os.environ.get(ZONE_VARIABLE):
        return
    try:
        target = open_target(home.crontab)
        zone = read_zone(heartbeat_file(home, target))
        if zone is not None and is_served(target):  # else it is what a killed one has left
            os.environ[ZONE_VARIABLE] = zone
    except MaejobsError:
        return


def tell_zone(zone: tzinfo, shown: Iterable[datetime]) -> None:
    """Say that the times `shown` are cron's, where the caller's clock shows one otherwise."""
    if here := _differing(zone, shown):
        text = f"times are those of {zone}, in which cron fires; your clock shows {here}"
        click.echo(visible(text))


def whose_clock(home: Home) -> str:
    """In words, in which zone cron fires, and the caller's where that now is another."""
    take_the_daemons_zone(home)
    zone = zone_of_slots(home)
    here = _differing(zone, [clock.now()])
    return f"cron fires in {zone}" + (f"; your clock shows {here}" if here else "")


def _differing(zone: tzinfo, shown: Iterable[datetime]) -> tzinfo | None:
    """The caller's zone, where its clock shows one of the instants otherwise."""
    here = host_zone()
    if zone is here or all(_offset(at, zone) == _offset(at, here) for at in shown):
        return None
    return here


def _offset(at: datetime, zone: tzinfo) -> object:
    return at.astimezone(zone).utcoffset()
