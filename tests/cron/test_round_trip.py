"""Our block in and out of a real crontab: whatever else the host would hold is the same bytes."""

import base64
import json
import sys

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

# Reads a table from standard input; says what `crontab` holds before, with our line, and after.
SCRIPT = """
import base64, json, subprocess, sys
from pathlib import Path
from maejobs.cron.block import Entry, read_entries, replace_entries
from maejobs.cron.install import change_table
from maejobs.cron.lines import parse_lines
from maejobs.cron.target import open_target
from maejobs.errors import MaejobsError

table = sys.stdin.buffer.read()
done = subprocess.run(["crontab", "-"], input=table, capture_output=True)
target = open_target("user")
seen = []
if done.returncode == 0:
    entries = [Entry("a", "0 2 * * *", "/opt/maejobs exec a"), Entry("b", "@daily", "x")]
    held = target.read()
    assert (held or b"") == table, (held, table)
    assert held is None or b"".join(line.raw for line in parse_lines(held)) == held
    seen.append(held)
    try:
        for wanted in (entries[:1], entries, entries[1:], []):
            change_table(target, lambda old: replace_entries(old, wanted), Path(sys.argv[1]))
            seen.append(target.read())
    except MaejobsError as error:
        assert target.read() == held
        seen.append(f"{type(error).__name__}: {error}".encode())
print(json.dumps([None if s is None else base64.b64encode(s).decode() for s in seen]))
"""

free = st.binary(max_size=30).map(lambda b: b.replace(b"\n", b"").replace(b"\0", b""))
blanks = st.text(" \t", min_size=1, max_size=3).map(str.encode)
lines = st.one_of(
    st.sampled_from(
        [
            b"",
            b" \t",
            b"FOO = bar",
            b"A='b = c'",
            b"fri-sun=x",
            b"@reboot true",
            b"0 0 * * fri-sun never fires",
            b'17 4 * * 1-5 backup --when="$(date +\\%F)"%stdin%more',
            b"* * * * * x # maejobs:a",
            b"#~ a tilde",
        ]
    ),
    free.map(lambda text: b"#" + text),
    st.tuples(blanks, free).map(lambda t: b"1" + t[0] + b"2 * * * run" + t[1]),
    st.tuples(blanks, free).map(lambda t: t[0] + b"# " + t[1]),
)
tables = st.lists(lines, max_size=12).map(lambda these: b"".join(line + b"\n" for line in these))


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(table=tables)
def test_what_is_not_ours_is_the_same_bytes_before_during_and_after(private_cron, tmp_path, table):
    private_cron.run(["crontab", "-r"])
    done = private_cron.run([sys.executable, "-c", SCRIPT, tmp_path / "backups"], input=table)
    assert done.returncode == 0, done.stderr.decode()
    seen = [None if text is None else base64.b64decode(text) for text in json.loads(done.stdout)]
    if not seen:
        event("refused by the host")
        return
    before, *changed = seen
    if changed and changed[-1] and changed[-1].startswith(b"Unfaithful: "):
        assert table.startswith(b"#")  # only what `crontab` takes for its own header is hidden
        event("hidden by the host: refused")
        return
    event("held by the host")
    assert len(changed) == 4
    assert (changed.pop() or b"") == (before or b"")
    for table_with_ours in changed:
        assert table_with_ours.startswith(before or b"")
