"""What these tests share: a pager, and a home that tells it."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from databases import configure
from pager import Pager, pager

from maejobs.home import Home


@pytest.fixture(name="pager")
def a_pager() -> Iterator[Pager]:
    with pager() as made:
        yield made


@pytest.fixture
def telling(home: Home, pager: Pager) -> Callable[..., Home]:
    """`telling(quiet_hours="…")` is the home with such settings, and the pager's URL."""

    def make(**settings: object) -> Home:
        settings = {"urls": [f"json://{pager.address}/hook"]} | settings
        lines = [f"{key} = {value!r}" for key, value in settings.items()]
        configure(home, "\n".join(['crontab = "crontab"', "[notify]", *lines]) + "\n")
        return replace(home, configured_notify=settings)

    return make
