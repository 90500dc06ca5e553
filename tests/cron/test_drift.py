from hypothesis import given
from hypothesis import strategies as st

from cron.strategies import tables
from maejobs.cron.block import Entry, read_entries, render_block, replace_entries
from maejobs.cron.drift import compare

MINE = b"0 5 * * 1 tar\n"


def command_of(job):
    return f"/opt/bin/maejobs exec {job}"


def is_ours(entry):
    return "--home" not in entry.command


def entry(job, expression, command=None):
    return Entry(job, expression, command or command_of(job))


def look(table, wanted, **options):
    return compare(table, wanted, command_of, is_ours, **options)


def kinds(comparison):
    return [(drift.kind.value, drift.job, drift.line) for drift in comparison.drifts]


def after(comparison):
    return [(e.job, e.expression) for e in read_entries(comparison.table)]


A, B = entry("a", "0 2 * * *"), entry("b", "@daily")
THEIRS = entry("a", "0 9 * * *", "/opt/bin/maejobs exec a --home /theirs")


def table_of(*entries):
    return replace_entries(MINE, entries)


def test_where_both_agree_there_is_no_drift_and_not_a_byte_changes():
    table = table_of(A, B).replace(b"0 2 * * *", b"0  2\t* * *")
    comparison = look(table, {"a": "0 2 * * *", "b": "@daily"})
    assert comparison.in_line
    assert comparison.drifts == ()
    assert comparison.table is table


def test_a_job_that_has_no_line_gets_one():
    comparison = look(MINE, {"a": "0 2 * * *", "b": None})
    assert kinds(comparison) == [("missing", "a", None)]
    assert comparison.table == table_of(A)
    assert comparison.changed == ("a",)


def test_an_expression_that_is_not_the_files_gives_way():
    comparison = look(table_of(entry("a", "0 3 * * *"), B), {"a": "0 2 * * *", "b": "@daily"})
    assert kinds(comparison) == [("expression", "a", 3)]
    assert "line 3: a runs at 0 3 * * *; its file says 0 2 * * *" in comparison.drifts[0].text
    assert comparison.table == table_of(A, B)


def test_several_of_which_none_is_the_files_all_give_way():
    table = table_of(entry("a", "0 3 * * *"), B, entry("a", "0 4 * * *"))
    comparison = look(table, {"a": "0 2 * * *", "b": None})
    assert "lines 3, 5: a runs at 0 3 * * * and 0 4 * * *" in comparison.drifts[0].text
    assert comparison.table == table_of(A, B)


def test_an_entry_beside_the_files_is_told_and_stays():
    table = table_of(entry("a", "0 9 * * *"), A)
    comparison = look(table, {"a": "0 2 * * *"})
    assert kinds(comparison) == [("also", "a", 3)]
    assert comparison.in_line
    assert comparison.table is table
    assert look(table, {"a": "0 2 * * *"}, drop_also=True).table == table_of(A)


def test_a_file_without_schedule_leaves_the_crontab_right():
    table = table_of(entry("a", "0 9 * * *"), A)
    assert look(table, {"a": None}).drifts == ()


def test_a_command_changed_by_hand_or_an_executable_that_moved_is_called_anew():
    comparison = look(table_of(entry("a", "0 2 * * *", "/old/maejobs exec a"), B), {"a": None})
    assert kinds(comparison)[0] == ("command", "a", 3)
    assert comparison.table == table_of(A, B)


def test_a_command_quoted_in_another_way_is_no_drift():
    assert look(table_of(entry("a", "0 2 * * *", "'/opt/bin/maejobs' exec a")), {"a": None}).in_line


def test_a_job_whose_file_is_gone_is_an_orphan_and_stays_unless_pruned():
    table = table_of(A, B)
    comparison = look(table, {"a": None})
    assert kinds(comparison) == [("orphan", "b", 4)]
    assert not comparison.in_line
    assert comparison.table is table
    pruned = look(table, {"a": None}, prune=True)
    assert pruned.table == table_of(A)
    assert pruned.changed == ("b",)


def test_pruning_the_last_one_gives_back_the_table_from_before():
    assert look(table_of(A), {}, prune=True).table == MINE
    assert look(replace_entries(MINE[:-1], [A]), {}, prune=True).table == MINE[:-1]


def test_the_same_entry_twice_is_there_once_after():
    comparison = look(table_of(A, B, A), {"a": "0 2 * * *", "b": None})
    assert kinds(comparison) == [("duplicate", "a", 5)]
    assert comparison.table == table_of(A, B)


def test_lines_of_other_homes_are_left_alone():
    table = table_of(THEIRS, THEIRS)
    assert look(table, {"b": None}).drifts == ()
    assert look(table, {"a": "0 2 * * *"}).table == table_of(THEIRS, THEIRS, A)


def test_only_the_jobs_asked_for_are_looked_at():
    table = table_of(entry("a", "0 3 * * *"), entry("b", "0 3 * * *"))
    comparison = look(table, {"a": "0 2 * * *", "b": "@daily"}, jobs={"b"})
    assert kinds(comparison) == [("expression", "b", 4)]
    assert after(comparison) == [("a", "0 3 * * *"), ("b", "@daily")]


def test_a_damaged_block_is_told_and_made_whole_around_the_lines():
    table = table_of(A, B).replace(b"# maejobs:a\n", b"# maejobs:a\n# a note\n" + MINE) + MINE
    comparison = look(table, {"a": "0 2 * * *", "b": "@daily"})
    assert kinds(comparison) == [("block", None, 4), ("block", None, 5)]
    assert comparison.table == table_of(A, B) + b"# a note\n" + MINE + MINE
    assert comparison.changed == ()


def test_a_line_of_ours_outside_the_block_is_fetched():
    table = render_block([A]).split(b"\n")[1] + b"\n" + table_of(B)
    comparison = look(table, {"a": "0 2 * * *", "b": "@daily"})
    assert kinds(comparison) == [("outside", "a", 1)]
    assert comparison.table == table_of(A, B)


def test_what_other_homes_have_outside_the_block_stays_there():
    table = render_block([THEIRS]).split(b"\n")[1] + b"\n" + table_of(A)
    assert look(table, {"a": "0 2 * * *"}).table is table


jobs = st.sampled_from("abcd")
times = st.sampled_from(["0 2 * * *", "@daily", "0 9 * * *"])
entries = st.lists(
    st.one_of(
        st.builds(entry, jobs, times),
        st.builds(entry, jobs, times, st.just("/old/maejobs exec a")),
        st.builds(entry, jobs, times, st.just("/opt/bin/maejobs exec a --home /theirs")),
    ),
    max_size=6,
)
wishes = st.dictionaries(jobs, st.one_of(st.none(), times))


@given(tables, entries, wishes, st.booleans())
def test_a_table_brought_in_line_has_no_drift_and_all_other_lines(table, entries, wanted, drop):
    before = replace_entries(table, entries)
    comparison = look(before, wanted, prune=True, drop_also=drop)
    again = look(comparison.table, wanted, prune=True, drop_also=drop)
    assert again.in_line
    assert again.table is comparison.table
    assert replace_entries(comparison.table, []) == table
    theirs = [e for e in entries if not is_ours(e)]
    assert [e for e in read_entries(comparison.table) if not is_ours(e)] == theirs
    for job, schedule in wanted.items():
        own = [e for e in read_entries(comparison.table) if e.job == job and is_ours(e)]
        assert schedule is None or schedule in [e.expression for e in own]
        assert schedule is None or not drop or len(own) == 1
        assert all(e.command == command_of(job) for e in own)


@given(tables, entries, wishes)
def test_in_line_means_that_nothing_would_change(table, entries, wanted):
    before = replace_entries(table, entries)
    comparison = look(before, wanted, prune=True)
    assert comparison.in_line == (comparison.table == before)
