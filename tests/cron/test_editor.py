import shutil
from pathlib import Path

import pytest

from maejobs.cron.block import BrokenBlock, Entry, replace_entries
from maejobs.cron.editor import BadEntry, Decision, check_text, edit_table
from maejobs.cron.file_target import FileTarget
from maejobs.cron.install import TableChanged
from maejobs.cron.target import TableRejected, TargetError
from maejobs.errors import MaejobsError, UserError

OLD, NEW = b"0 5 * * 1 tar\n", b"0 6 * * 1 tar\n"
BAD = b"# c\n0 25 * * 1 tar\n"


class Strict(FileTarget):
    """A file target with a checker that knows one bad word."""

    def check(self, table):
        for number, line in enumerate(table.split(b"\n"), 1):
            if b"25" in line or b"odd" in line:
                raise TableRejected("bad hour", number)


@pytest.fixture
def target(tmp_path):
    (tmp_path / "tab").write_bytes(OLD)
    return Strict(tmp_path / "tab")


@pytest.fixture
def edit(target, tmp_path):
    """Edits with texts handed in one after the other, answering with `answers`; notes all.

    To the question whether to install, the answers are `decisions`, and yes when they run out.
    """

    def edit(*texts, answers=(), decisions=()):
        edit.seen, edit.asked, edit.shown = [], [], []
        texts, answers, decisions = iter(texts), iter(answers), iter(decisions)

        def editor(file):
            edit.seen.append(file.read_bytes())
            edit.mode = file.stat().st_mode & 0o777
            file.write_bytes(next(texts))

        def ask(message):
            edit.asked.append(message)
            return next(answers)

        def decide(change, doubts):
            edit.shown.append((change.after, doubts))
            return next(decisions, Decision.INSTALL)

        return edit_table(target, editor, ask, decide, tmp_path / "backups")

    return edit


def install(change, doubts):
    return Decision.INSTALL


def kept(tmp_path):
    return list((tmp_path / "backups").glob("*.edited"))


def test_an_edit_is_installed(target, edit):
    change = edit(NEW)
    assert (change.before, change.after) == (OLD, NEW)
    assert target.read() == NEW
    assert edit.seen == [OLD]
    assert edit.mode == 0o600


def test_an_unchanged_text_installs_nothing(target, edit, tmp_path):
    assert edit(OLD) is None
    assert not (tmp_path / "backups").exists()


def test_a_first_table_starts_from_an_empty_text(target, edit):
    target.path.unlink()
    assert edit(NEW).before is None
    assert edit.seen == [b""]


def test_a_mistake_is_shown_in_our_words_and_the_same_text_edited_again(target, edit):
    edit(BAD, NEW, answers=[True])
    assert edit.seen == [OLD, BAD]
    (message,) = edit.asked
    assert "line 2" in message
    assert "bad hour: 25 is outside 0–23" in message
    assert "\n  0 25 * * 1\n    ^" in message
    assert target.read() == NEW


def test_going_back_to_the_old_text_after_a_mistake_changes_nothing(target, edit):
    assert edit(BAD, OLD, answers=[True]) is None


def test_giving_up_leaves_the_old_table_and_keeps_the_text(target, edit, tmp_path):
    with pytest.raises(UserError) as caught:
        edit(BAD, answers=[False])
    assert target.read() == OLD
    (file,) = kept(tmp_path)
    assert file.read_bytes() == BAD
    assert str(file) in caught.value.__notes__[0]


def test_a_table_changed_meanwhile_is_refused_and_the_text_kept(target, tmp_path):
    def editor(file):
        file.write_bytes(NEW)
        target.path.write_bytes(b"# somebody else\n")

    with pytest.raises(TableChanged, match="by somebody else meanwhile") as caught:
        edit_table(target, editor, lambda _: False, install, tmp_path / "backups")
    assert target.read() == b"# somebody else\n"
    (file,) = kept(tmp_path)
    assert file.read_bytes() == NEW
    assert str(file) in caught.value.__notes__[0]


def test_where_there_is_no_room_the_text_stays_where_it_is(target, edit, monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("maejobs.cron.desk.write_atomically", full)
    monkeypatch.setattr("maejobs.cron.backups.write_atomically", full)
    with pytest.raises(MaejobsError, match="No space") as caught:
        edit(NEW)
    place = Path(caught.value.__notes__[0].rpartition(" ")[2])
    assert place.read_bytes() == NEW
    shutil.rmtree(place.parent)


def test_an_interrupted_editor_loses_no_text(target, tmp_path):
    def editor(file):
        file.write_bytes(NEW)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        edit_table(target, editor, lambda _: False, install, tmp_path / "backups")
    assert kept(tmp_path)[0].read_bytes() == NEW


def test_a_check_that_cannot_run_keeps_the_text(target, edit, monkeypatch, tmp_path):
    def broken(table):
        raise TargetError("read-only file system")

    monkeypatch.setattr(target, "check", broken)
    with pytest.raises(TargetError, match="read-only"):
        edit(NEW)
    assert kept(tmp_path)[0].read_bytes() == NEW


def test_an_editor_that_removes_and_recreates_the_file_is_fine(target, tmp_path):
    def editor(file):
        shutil.copy(file, file.with_suffix(".new"))
        file.with_suffix(".new").write_bytes(NEW)
        file.with_suffix(".new").replace(file)

    assert edit_table(target, editor, lambda _: False, install, tmp_path / "b") is not None
    assert target.read() == NEW


def test_a_line_that_cron_takes_is_the_users_business(target):
    check_text(target, b"0 0 * * fri-sun x\nFOO = bar\n@reboot x\n")


def test_where_our_grammar_finds_no_fault_the_checkers_words_stand(target):
    with pytest.raises(TableRejected, match="line 1: bad hour"):
        check_text(target, b"0 5 * * * odd\n")


def test_a_block_broken_by_the_edit_is_refused(target):
    table = replace_entries(OLD, [Entry("a", "@daily", "x")])
    check_text(target, table)
    with pytest.raises(BrokenBlock):
        check_text(target, table.replace(b"# <<< maejobs <<<\n", b""))


def test_a_good_text_is_shown_and_may_be_edited_again(target, edit):
    edit(b"@daily x\n", NEW, decisions=[Decision.EDIT])
    assert edit.seen == [OLD, b"@daily x\n"]
    assert edit.shown == [(b"@daily x\n", []), (NEW, [])]
    assert target.read() == NEW


def test_giving_up_a_good_text_keeps_it(target, edit, tmp_path):
    with pytest.raises(UserError, match="given up"):
        edit(NEW, decisions=[Decision.GIVE_UP])
    assert target.read() == OLD
    assert kept(tmp_path)[0].read_bytes() == NEW


def test_what_is_doubtful_is_told_before(target, edit):
    edit(OLD + b"0 0 * * fri-sun x\n")
    ((_, (doubt,)),) = edit.shown
    assert doubt.startswith("line 2, column 9: cron takes it, but `fri-sun`")


def test_in_a_line_of_ours_our_grammar_decides(target):
    table = replace_entries(OLD, [Entry("a", "0 0 * * fri-sun", "/m exec a")])
    with pytest.raises(BadEntry, match="line 3, column 9: bad day-of-week"):
        check_text(target, table)


def test_a_line_of_ours_that_holds_no_text_is_refused_all_the_same(target):
    table = replace_entries(b"", [Entry("a", "0 0 * * 5", "/m exec a")])
    with pytest.raises(BadEntry, match="line 2, column 10"):
        check_text(target, table.replace(b"* 5 ", b"* 5\xff "))
