"""Warnings of the rooms below are told while a command runs, shown and not obeyed."""

import logging

from maejobs.cli.warned import warned_by

LOG = logging.getLogger("maejobs.somewhere")


def test_within_a_warning_is_told_and_afterwards_no_more():
    said = []
    with warned_by(said.append):
        LOG.warning("%s is away", "it")
        LOG.info("nobody asked")
    LOG.warning("too late")
    assert said == ["it is away"]


def test_no_warning_drives_the_terminal():
    said = []
    with warned_by(said.append):
        LOG.warning("a job called \x1b[2J\u202e")
    assert said == ["a job called \\x1b[2J\\u202e"]


def test_one_that_nobody_reads_any_more_costs_nothing():
    def gone(_):
        raise BrokenPipeError

    with warned_by(gone):
        LOG.warning("nobody reads this")


def test_they_are_told_where_the_command_fails():
    said = []
    try:
        with warned_by(said.append):
            raise ValueError
    except ValueError:
        LOG.warning("too late")
    assert said == []
