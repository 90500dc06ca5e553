"""Deliveries to a real server: taken, refused, hanging, and the sender killed in between."""

import dataclasses
import email
import json
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
from contextlib import ExitStack
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from pager import HANG, Pager
from pager import pager as another_pager
from recorded_runs import a_run
from running import wait_for
from small_disk import fill, needs_root, small_disk

from maejobs import clock
from maejobs.cron.fires import ZONE_VARIABLE
from maejobs.errors import UserError
from maejobs.notify import hooks, outbox, post
from maejobs.notify import judge as judging
from maejobs.notify import send as sending
from maejobs.notify.judge import read_told
from maejobs.notify.message import GIVE_UP, Message
from maejobs.notify.outbox import put, waiting
from maejobs.notify.pings import ping, rid
from maejobs.notify.send import send
from maejobs.rundb.database import open_database
from maejobs.rundb.record import write_run

SENDER = [sys.executable, "-P", "-m", "maejobs", "notify", "send"]


def alert(name: str = "alert-x", age: float = 0) -> Message:
    created = clock.now() - timedelta(seconds=age)
    return Message(name, "alert", created, f"title of {name}", "body")


def a_ping(pager: Pager, kind: str = "success") -> Message:
    return ping(kind, f"http://{pager.address}/abc", a_run(state="succeeded"), clock.now())


@pytest.fixture
def without_apprise(monkeypatch) -> None:
    """Post the body alone, in a fifth of the time that apprise takes to be imported."""

    def plainly(parcel: post.Parcel) -> str | None:
        url = parcel.url.replace("json://", "http://")
        return post.post(dataclasses.replace(parcel, url=url, body=parcel.title, is_ping=True))

    monkeypatch.setattr(sending, "post", plainly)


def trials(home, stays: float = 0) -> list[str | None]:
    return [one.why for one in send(home, stays)]


def test_an_alert_arrives_once_and_is_gone(telling, pager):
    home = telling()
    put(home, alert())
    put(home, alert())
    assert trials(home) == [None]
    assert pager.titles == ["title of alert-x"]
    assert waiting(home) == []
    assert trials(home) == []


def test_pings_arrive_in_order_at_their_places(telling, pager):
    home = telling()
    for kind in ("start", "log", "success"):
        put(home, a_ping(pager, kind))
    assert trials(home) == [None] * 3
    assert [path for path, _ in pager.got] == [
        f"/abc{suffix}?rid={rid(a_run().id)}" for suffix in ("/start", "/log", "")
    ]
    assert pager.got[-1][1] == f"{a_run().id} on somewhere: succeeded\n"


def test_a_pager_that_fails_twice_is_told_in_the_end(telling, pager, monkeypatch):
    monkeypatch.setattr("maejobs.notify.message.FIRST_DELAY", timedelta(milliseconds=1))
    home = telling()
    pager.answers = [500, 503]
    put(home, a_ping(pager))
    first, second, third = trials(home, stays=30)
    assert "500" in first
    assert "503" in second
    assert third is None
    assert waiting(home) == []


def test_one_that_refuses_keeps_nobody_else_from_hearing(telling, pager, without_apprise):
    with another_pager() as gone:
        dead = f"json://{gone.address}/secret-path"
    home = telling(urls=[dead, f"json://{pager.address}/hook"])
    put(home, alert())
    why, none = trials(home)
    assert why
    assert none is None
    (left,) = waiting(home)
    assert (left.tries, len(left.delivered)) == (1, 1)
    log = outbox.log_file(home).read_text()
    assert "json://***" in log
    assert "secret-path" not in log + left.to_json()
    home = telling()  # the URL was wrong, and is taken out: all who are left have it
    outbox.replace(home, left)
    trials(home)
    assert len(pager.got) == 1


@pytest.mark.fault
def test_one_that_hangs_is_left_after_a_while(telling, pager, monkeypatch):
    monkeypatch.setattr(sending, "post", lambda parcel: post.post(parcel, 1.5))
    home = telling()
    pager.answers = [HANG]
    put(home, a_ping(pager))
    assert trials(home) == ["no answer within 2 s"]
    assert waiting(home)[0].tries == 1


def test_what_nobody_takes_is_dropped_in_the_end_and_that_is_noted(telling, pager):
    home = telling()
    put(home, alert(age=5 * 86400))
    assert trials(home) == []
    assert waiting(home) == []
    assert "dropped alert-x" in outbox.log_file(home).read_text()


def test_an_alert_that_reached_nobody_is_told_again_while_the_job_is_bad(
    telling, pager, write_job, without_apprise
):
    home = telling()
    write_job("pretrain", 'command = ["true"]\n')
    now = clock.now()
    bad = a_run(slot=now, queued=now, finished=now, state="failed")
    with open_database(home) as engine:
        write_run(engine, bad)
    pager.otherwise = 500
    assert len(trials(home)) == 1
    (message,) = waiting(home)
    outbox.replace(home, dataclasses.replace(message, created=now - GIVE_UP))
    assert trials(home) == []
    assert (waiting(home), read_told(home)) == ([], set())
    pager.otherwise = 200
    assert trials(home) == [None]
    assert pager.got[-1][1] == "maejobs: pretrain failed"
    assert trials(home) == []


def test_pings_need_no_settings_of_the_home(telling, pager):
    home = telling(urlz=[])
    put(home, a_ping(pager))
    put(home, alert(age=5 * 86400))
    put(home, alert("alert-young"))
    with pytest.raises(UserError, match="did you mean urls"):
        trials(home)
    assert pager.paths == ["/abc"]
    assert [message.name for message in waiting(home)] == ["alert-young"]


@pytest.mark.fault
def test_what_cannot_be_noted_is_not_tried_over_and_over(telling, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    home = telling()
    put(home, alert())
    tried = iter(["refused", "refused"])
    monkeypatch.setattr(sending, "post", lambda _: next(tried))
    monkeypatch.setattr(outbox, "replace", full)
    assert trials(home) == ["refused"]
    assert len(waiting(home)) == 1


def test_people_hear_after_their_quiet_hours(telling, pager, monkeypatch):
    """Which are those of cron's clock, whoever sends."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv(ZONE_VARIABLE, "America/Phoenix")
    now = clock.now().astimezone(ZoneInfo("America/Phoenix"))
    hours = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=1):%H:%M}"
    home = telling(quiet_hours=hours)
    put(home, alert())
    assert trials(home) == []
    assert len(waiting(home)) == 1


@pytest.mark.fault
def test_many_senders_at_once_send_once(telling, pager, without_apprise):
    home = telling()
    for number in range(3):
        put(home, alert(f"alert-{number}"))
    threads = [threading.Thread(target=trials, args=(home, 20)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bodies = sorted(body for _, body in pager.got)
    assert bodies == [f"title of alert-{number}" for number in range(3)]


@pytest.mark.fault
def test_senders_do_not_pile_up_where_a_pager_is_slow(telling, monkeypatch):
    """One sends, one waits for its turn, and sees to what all others were started for."""
    took, sent, started = threading.Semaphore(0), [], []
    monkeypatch.setattr(
        sending, "post", lambda parcel: sent.append(parcel.title) or not took.acquire()
    )
    monkeypatch.setattr(hooks, "start_detached", lambda _: started.append("sender") or 1)
    monkeypatch.setattr(sending, "_judge", lambda _: None)
    home = telling()
    put(home, alert("alert-0"))
    senders = [threading.Thread(target=trials, args=(home, 60), daemon=True) for _ in range(3)]
    assert hooks.start_sender(home) == 1
    senders[0].start()
    wait_for(lambda: sent)
    assert hooks.start_sender(home) == 1
    senders[1].start()
    wait_for(lambda: outbox.is_awaited(home))
    put(home, alert("alert-1"))
    assert hooks.start_sender(home) is None
    senders[2].start()
    senders[2].join(5)
    assert [sender.is_alive() for sender in senders] == [True, True, False]
    took.release(9)
    for sender in senders:
        sender.join(5)
    assert len(started) == 2
    assert sorted(sent) == ["title of alert-0", "title of alert-1"]
    assert waiting(home) == []


@pytest.mark.fault
def test_who_waits_to_try_again_goes_when_another_has_come(telling, monkeypatch):
    monkeypatch.setattr("maejobs.notify.message.FIRST_DELAY", timedelta(seconds=0.5))
    monkeypatch.setattr(sending, "STEP_SECONDS", 0.02)
    monkeypatch.setattr(sending, "_judge", lambda _: None)
    sent = []
    monkeypatch.setattr(
        sending,
        "post",
        lambda parcel: sent.append(parcel.title) or ("no" if len(sent) < 3 else None),
    )
    home = telling()
    senders = [threading.Thread(target=trials, args=(home, 60), daemon=True) for _ in range(2)]
    for number, sender in enumerate(senders):
        put(home, alert(f"alert-{number}"))
        sender.start()
        wait_for(lambda number=number: len(sent) == number + 1)
    senders[0].join(0.3)
    assert [sender.is_alive() for sender in senders] == [False, True]
    senders[1].join(5)
    assert waiting(home) == []
    assert sent == [f"title of alert-{number}" for number in (0, 1, 0, 1)]


def test_of_one_job_the_last_word_is_the_last_that_anybody_hears(telling, monkeypatch):
    """Of another nobody waits for it, nor do pagers wait for each other."""
    heard, refuses = [], {"json://dead/"}

    def take(parcel: post.Parcel) -> str | None:
        if parcel.url in refuses:
            return "no"
        heard.append((parcel.url, parcel.body))
        return None

    def put_word(body: str, job: str, age: float) -> None:
        put(home, dataclasses.replace(alert(f"alert-{body}", age), body=body, job=job))

    monkeypatch.setattr(sending, "post", take)
    monkeypatch.setattr(sending, "_judge", lambda _: None)
    home = telling(urls=["json://dead/", "json://good/"])
    put_word("lost", "night", 30)
    trials(home)
    put_word("well", "night", 20)
    put_word("late", "other", 10)
    trials(home)
    assert heard == [("json://good/", body) for body in ("lost", "well", "late")]
    assert {message.body: message.tries for message in waiting(home)} == {
        "lost": 1,
        "well": 0,
        "late": 1,
    }
    refuses.clear()
    for message in waiting(home):
        outbox.replace(home, dataclasses.replace(message, next_try=None))
    trials(home)
    assert heard[3:] == [("json://dead/", body) for body in ("lost", "late", "well")]
    assert waiting(home) == []


@pytest.mark.fault
def test_a_sender_that_is_killed_loses_nothing(telling, pager: Pager):
    home = telling(urls=[])
    put(home, a_ping(pager))
    pager.answers = [HANG]
    environment = {"PATH": os.environ["PATH"], "MAEJOBS_HOME": str(home.root)}
    sender = subprocess.Popen(SENDER, env=environment, start_new_session=True)
    wait_for(lambda: pager.got)
    os.killpg(sender.pid, signal.SIGKILL)
    sender.wait()
    assert len(waiting(home)) == 1
    done = subprocess.run(SENDER, env=environment, capture_output=True, text=True, check=True)
    assert "to http://***: sent" in done.stdout
    assert waiting(home) == []


@pytest.mark.fault
def test_a_message_that_is_none_is_set_aside(telling, pager):
    home = telling()
    put(home, a_ping(pager))
    (home.notify_dir / "outbox" / "bad.json").write_text("{")
    assert trials(home) == [None]
    assert (home.notify_dir / "outbox" / "bad.unreadable").exists()


def test_a_copy_of_a_message_under_another_name_is_not_sent_for_ever(telling, pager):
    home = telling()
    put(home, a_ping(pager))
    (waits,) = (home.notify_dir / "outbox").iterdir()
    shutil.copy(waits, waits.with_name("copy.json"))
    assert len(waiting(home)) == 1
    assert trials(home) == [None]
    assert [path.name for path in (home.notify_dir / "outbox").iterdir()] == ["copy.unreadable"]


@pytest.mark.fault
@needs_root
def test_on_a_full_disk_nobody_is_told_the_same_again_and_again(telling, pager, without_apprise):
    with another_pager() as gone:
        dead = f"json://{gone.address}/"
    home = telling(urls=[dead, f"json://{pager.address}/hook"])
    with ExitStack() as stack:
        stack.enter_context(small_disk(home.notify_dir, "64k"))
        put(home, alert("alert-a"))
        fill(home.notify_dir / "filler")
        with pytest.raises(OSError, match="No space"):
            put(home, alert("alert-b"))
        for _ in range(2):
            trials(home)
    assert len(pager.got) == 1


def test_what_is_posted_by_apprise_is_what_was_said_and_cut_where_it_is_too_long(pager):
    body = "a body " * 9999
    assert post.post(post.Parcel(f"json://{pager.address}/", "a title", body)) is None
    told = json.loads(pager.got[0][1])["message"]
    assert body.startswith(told[:1000])
    assert len(told) < 40_000
    assert post.post(post.Parcel("nosuch://secret", "a", "b"))


class _Postman(socketserver.StreamRequestHandler):
    """A mail server that takes all there is, and puts it into `server.got`."""

    def handle(self) -> None:
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                self.server.got = b"".join(iter(self.rfile.readline, b".\r\n"))
            self.wfile.write(b"250 good\r\n")


def test_what_a_command_said_is_no_html_in_a_mail_and_lines_stay_lines():
    body = "run: x\nreason: <img src='http://evil.example/x.png'> & more"
    with socketserver.TCPServer(("127.0.0.1", 0), _Postman) as server:
        server.timeout = 20
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        place = f"mailto://127.0.0.1:{server.server_address[1]}"
        url = f"{place}?mode=insecure&from=a@b.example&to=c@d.example"
        assert post.post(post.Parcel(url, "a title\r\nBcc: e@f.example", body)) is None
        thread.join()
    mail = email.message_from_bytes(server.got)
    assert mail.get_content_type() == "text/plain"
    assert mail.get_payload(decode=True).decode().splitlines() == body.splitlines()
    assert mail["Bcc"] is None


def test_what_was_sent_is_noted_in_two_files_of_bounded_size(telling):
    home = telling()
    put(home, alert())
    for _ in range(100):
        outbox.note(home, clock.now(), "x" * 10_000)
    logs = list(home.notify_dir.glob("sent.log*"))
    assert len(logs) == 2
    assert all(100_000 < log.stat().st_size < 270_000 for log in logs)
    assert {log.stat().st_mode & 0o777 for log in logs} == {0o600}


@pytest.mark.fault
def test_what_cannot_be_remembered_as_told_is_not_told(telling, write_job, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    home = telling()
    write_job("pretrain", 'command = ["true"]\n')
    now = clock.now()
    with open_database(home) as engine:
        write_run(engine, a_run(slot=now, queued=now, finished=now, state="failed"))
    with monkeypatch.context() as patched:
        patched.setattr(judging, "_write_told", full)
        with pytest.raises(OSError, match="No space"):
            judging.judge(home, now)
    assert waiting(home) == []
    assert len(judging.judge(home, now)) == len(waiting(home)) == 1


def test_no_part_of_a_url_stands_in_what_is_told_of_it():
    url = "json://user:p%40ss%20word@host.example/key-of-ours?token=hunter22"
    for secret in ("p%40ss%20word", "p@ss word", "key-of-ours", "hunter22", url):
        assert secret not in post._without(url, f"{secret} was refused: {secret}\n")
