"""edit: `$EDITOR` on the table, and a bad table is not installed."""

import time
from pathlib import Path

import pytest
from conftest import MAEJOBS
from databases import configure
from private_cron import private_cron  # noqa: F401 (a fixture)

GOOD = b"# mine\n0 2 * * * /bin/true\n"
QUESTION = "Install it? [y]es, [e]dit again, [n]o:"


@pytest.fixture
def table(home):
    path = Path(home.crontab)
    path.write_bytes(GOOD)
    return path


def kept_texts(home):
    return [path.read_bytes() for path in home.crontab_backups_dir.glob("*.edited")]


def test_a_good_change_is_installed_and_shown(home, table, maejobs, script):
    editor = script("""echo '5 4 * * * /bin/more' >> "$1" """)
    done = maejobs("edit", EDITOR=editor)
    assert done.returncode == 0, done.stderr
    assert "+5 4 * * * /bin/more\n" in done.stdout
    assert table.read_bytes() == GOOD + b"5 4 * * * /bin/more\n"
    assert [p.read_bytes() for p in home.crontab_backups_dir.glob("*/*.crontab")] == [GOOD]


def test_visual_goes_before_editor(table, maejobs, script):
    done = maejobs("edit", VISUAL=script(""), EDITOR=script("""echo bad > "$1" """))
    assert done.returncode == 0
    assert done.stdout == "no change: the crontab stays as it is\n"


def test_a_bad_one_is_refused_with_line_and_column_and_the_text_is_kept(
    home, table, maejobs, script
):
    done = maejobs("edit", EDITOR=script("""echo '0 2 * 13 * /bin/x' >> "$1" """))
    assert done.returncode == 2
    assert "line 3, column 7: bad month: 13 is outside 1–12\n  0 2 * 13 *\n        ^" in done.stderr
    assert table.read_bytes() == GOOD
    (kept,) = home.crontab_backups_dir.glob("*.edited")
    assert str(kept) in done.stderr
    assert kept.read_bytes() == GOOD + b"0 2 * 13 * /bin/x\n"


def test_on_a_terminal_a_bad_one_can_be_mended(home, table, terminal, script):
    editor = script(
        """if grep -q ' 13 ' "$1"; then sed -i 's/ 13 / 12 /' "$1"
        else echo '0 2 * 13 * /bin/x' >> "$1"; fi"""
    )
    screen = terminal("edit", EDITOR=editor)
    screen.wait_for("line 3, column 7")
    screen.wait_for("Edit again? [Y/n]")
    assert table.read_bytes() == GOOD
    screen.type("\n")
    screen.wait_for("+0 2 * 12 * /bin/x")
    screen.wait_for(QUESTION)
    screen.type("y\n")
    assert screen.end() == 0
    assert table.read_bytes() == GOOD + b"0 2 * 12 * /bin/x\n"
    assert kept_texts(home) == []


@pytest.mark.parametrize("answer", ["n\n", "\x03"], ids=["no", "Ctrl-C"])
def test_on_a_terminal_one_can_give_up_and_keeps_the_text(home, table, terminal, script, answer):
    screen = terminal("edit", EDITOR=script("""echo '0 2 * 13 * /bin/x' >> "$1" """))
    screen.wait_for("Edit again? [Y/n]")
    screen.insist(answer)
    assert screen.end() == 2
    assert table.read_bytes() == GOOD
    assert kept_texts(home) == [GOOD + b"0 2 * 13 * /bin/x\n"]


def test_on_a_terminal_the_change_is_shown_before_it_is_made(table, terminal, script):
    screen = terminal("edit", EDITOR=script("""echo '0 0 * * fri-sun /bin/x' >> "$1" """))
    screen.wait_for("+0 0 * * fri-sun /bin/x")
    screen.wait_for("warning: line 3, column 9: cron takes it, but `fri-sun` never fires")
    screen.wait_for(QUESTION)
    assert table.read_bytes() == GOOD
    screen.type("y\n")
    assert screen.end() == 0
    assert table.read_bytes() == GOOD + b"0 0 * * fri-sun /bin/x\n"


def test_on_a_terminal_a_good_one_can_be_edited_again(table, terminal, script):
    screen = terminal("edit", EDITOR=script("""echo '5 4 * * * /bin/x' >> "$1" """))
    screen.wait_for(QUESTION)
    screen.type("e\n")
    screen.wait_for(QUESTION)
    assert table.read_bytes() == GOOD
    screen.type("y\n")
    assert screen.end() == 0
    assert table.read_bytes() == GOOD + 2 * b"5 4 * * * /bin/x\n"


@pytest.mark.parametrize("answer", ["n\n", "\x03"], ids=["no", "Ctrl-C"])
def test_on_a_terminal_a_good_one_can_be_given_up(home, table, terminal, script, answer):
    screen = terminal("edit", EDITOR=script("""echo '5 4 * * * /bin/x' >> "$1" """))
    screen.wait_for(QUESTION)
    screen.insist(answer)
    assert screen.end() == 2
    assert "given up; nothing was installed" in screen.text
    assert table.read_bytes() == GOOD
    assert kept_texts(home) == [GOOD + b"5 4 * * * /bin/x\n"]


def test_with_yes_nobody_is_asked(table, terminal, script):
    screen = terminal("edit", "--yes", EDITOR=script("""echo '5 4 * * * /bin/x' >> "$1" """))
    assert screen.end() == 0
    assert "+5 4 * * * /bin/x" in screen.text
    assert table.read_bytes() == GOOD + b"5 4 * * * /bin/x\n"


def test_a_line_of_ours_is_held_to_our_grammar(table, write_job, inside, maejobs, script):
    write_job("quick", 'command = ["true"]\n')
    inside("schedule", "quick", "0 2 * * 5")
    before = table.read_bytes()
    done = maejobs("edit", EDITOR=script("""sed -i 's/2 . . 5/2 * * fri-sun/' "$1" """))
    assert done.returncode == 2
    assert "line 4, column 9: bad day-of-week: `fri-sun` never fires" in done.stderr
    assert table.read_bytes() == before


def test_our_lines_are_read_in_the_homes_dialect(home, table, write_job, inside, maejobs, script):
    write_job("quick", 'command = ["true"]\n')
    configure(home, 'crontab = "crontab"\ndialect = "busybox"\n')
    inside("schedule", "quick", "0 2 * * 5")
    done = maejobs("edit", EDITOR=script("""sed -i 's/2 . . 5/2 * * 7/' "$1" """))
    assert (done.returncode, "busybox knows Sunday as 0 only" in done.stderr) == (2, True)


def test_a_dry_run_shows_the_change_and_writes_nothing(table, maejobs, script, snapshot, tmp_path):
    before = snapshot()
    good = maejobs("edit", "--dry-run", EDITOR=script("""echo '5 4 * * * /bin/x' >> "$1" """))
    assert "+5 4 * * * /bin/x" in good.stdout
    bad = script("""echo 'nonsense' >> "$1" """)
    bad = maejobs("edit", "--dry-run", EDITOR=bad, TMPDIR=str(tmp_path))
    assert bad.returncode == 2
    assert snapshot() == before


def test_ctrl_c_while_an_editor_runs_is_the_editors(table, terminal, script):
    editor = script("""trap 'echo "5 4 * * * /bin/x" >> "$1"; exit 0' INT
        echo editing > /dev/tty; while :; do sleep 0.1; done""")
    screen = terminal("edit", "--yes", EDITOR=editor)
    screen.wait_for("editing")
    screen.type("\x03")
    assert screen.end() == 0
    assert table.read_bytes() == GOOD + b"5 4 * * * /bin/x\n"


@pytest.mark.parametrize("editor", ["false", "/no/such/editor"])
def test_an_editor_that_fails_is_told_in_one_line(table, maejobs, snapshot, editor):
    before = snapshot()
    done = maejobs("edit", EDITOR=editor)
    assert done.returncode == 2
    assert done.stderr.startswith(f"maejobs: {editor}: Editing failed")
    assert done.stderr.count("\n") == 1
    assert snapshot() == before


def test_an_editor_that_is_no_command_is_told_in_one_line(table, inside, monkeypatch):
    monkeypatch.setenv("VISUAL", "'vim")
    done = inside("edit")
    why = "$VISUAL or $EDITOR is no command (No closing quotation); write it as for a shell"
    assert (done.returncode, done.stderr) == (2, f"maejobs: {why}\n")


def test_an_editor_that_takes_the_file_away_is_told_and_leaves_nothing(
    table, maejobs, snapshot, tmp_path
):
    before = snapshot()
    done = maejobs("edit", EDITOR="rm -f", TMPDIR=str(tmp_path))
    told = "maejobs: the editor left no text (it took the file away); nothing was installed\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)
    assert list(tmp_path.glob("maejobs-edit-*")) == []
    assert snapshot() == before


def test_a_change_behind_ones_back_is_not_overwritten(home, table, maejobs, script):
    editor = script(f"""echo '1 1 * * * /bin/theirs' > {table}; echo '2 2 * * * /bin/x' > "$1" """)
    done = maejobs("edit", EDITOR=editor)
    assert done.returncode == 1
    assert "changed by somebody else" in done.stderr
    assert table.read_bytes() == b"1 1 * * * /bin/theirs\n"
    assert kept_texts(home) == [b"2 2 * * * /bin/x\n"]


@pytest.mark.parametrize(("killed_by", "code"), [("HUP", 2), ("KILL", -9)])
def test_a_kill_while_an_editor_runs_costs_no_text(
    home, table, maejobs, script, tmp_path, killed_by, code
):
    editor = script(f"""kill -{killed_by} $PPID; sleep 0.1; echo '2 2 * * * /bin/x' > "$1" """)
    done = maejobs("edit", EDITOR=editor, TMPDIR=str(tmp_path))
    assert done.returncode == code
    assert table.read_bytes() == GOOD
    if killed_by == "KILL":
        (draft,) = tmp_path.glob("maejobs-edit-*/crontab")
        give_up = time.monotonic() + 20
        while draft.read_bytes() == GOOD and time.monotonic() < give_up:
            time.sleep(0.02)
        told = maejobs("edit", EDITOR="true", TMPDIR=str(tmp_path)).stderr
        assert "was broken off; its text is in " in told
    else:
        assert f"stopped by SIG{killed_by}; nothing was installed" in done.stderr
        told = done.stderr
    (kept,) = home.crontab_backups_dir.glob("*.edited")
    assert str(kept) in told
    assert kept.read_bytes() == b"2 2 * * * /bin/x\n"
    assert list(tmp_path.glob("maejobs-edit-*")) == []


def test_half_a_block_is_refused(table, maejobs, script):
    done = maejobs("edit", EDITOR=script("""echo '# >>> maejobs >>>' >> "$1" """))
    assert done.returncode == 2
    assert "line 3 of the crontab: the maejobs block that begins here has no end" in done.stderr
    assert table.read_bytes() == GOOD


def test_through_the_hosts_own_crontab(home, private_cron, script):  # noqa: F811
    private_cron.run(["crontab", "-"], input=GOOD)

    def edit(text):
        argv = [MAEJOBS, "edit", "--crontab", "user", "--home", home.root]
        return private_cron.run(argv, env={"EDITOR": script(text)})

    bad = edit("""sed -i '1i 0 24 * * * tar' "$1" """)
    assert bad.returncode == 2
    assert b"line 1, column 3: bad hour: 24 is outside" in bad.stderr
    doubtful = edit("""printf '\\n#\\344\\n0 0 30 2 * tar\\n' >> "$1" """)
    assert doubtful.returncode == 0, doubtful.stderr
    assert b"warning: line 5, column 5: cron takes it, but `30` never comes" in doubtful.stderr
    listed = private_cron.run(["crontab", "-l"]).stdout
    assert listed == GOOD + b"\n#\xe4\n0 0 30 2 * tar\n"
