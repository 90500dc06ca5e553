"""Samples become fewer with age, and go on telling the same."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from databases import plan_of, take_away, told_of_absence
from hypothesis import given
from hypothesis import strategies as st
from recorded_runs import NIGHT, a_run, row, rows
from sqlalchemy import Engine, insert, select, update

from maejobs.home import Home
from maejobs.keep.thinning import Thinned, step_for, thin, thin_samples
from maejobs.rundb.database import open_database
from maejobs.rundb.record import write_run
from maejobs.rundb.run import SUCCEEDED
from maejobs.rundb.samples import samples_of
from maejobs.rundb.schema import runs, samples

NOW = NIGHT + timedelta(days=100)
NOTHING = dict.fromkeys(column.name for column in samples.columns)


def a_sample(at: float, seconds: float = 15.0, **values: float | None) -> dict:
    return NOTHING | {"time": NIGHT + timedelta(seconds=at), "seconds": seconds} | values


def record(engine: Engine, night: int, days_ago: float, count: int = 240) -> str:
    """A run that ended so long ago, sampled every 15 seconds."""
    finished = NOW - timedelta(days=days_ago)
    run = a_run(night=night, state=SUCCEEDED, finished=finished)
    write_run(engine, run)
    begun = finished - timedelta(seconds=15 * count)
    taken = [
        {
            "run": run.id,
            "offset": n,
            "time": begun + timedelta(seconds=15 * n),
            "seconds": 15.0,
            "cpu": float(n % 4),
            "cpu_peak": float(n % 4),
            "bytes_written": 10,
        }
        for n in range(count)
    ]
    with engine.begin() as connection:
        connection.execute(insert(samples), taken)
        connection.execute(update(runs).where(runs.c.id == run.id).values(samples_step=0))
    return run.id


def counts(engine: Engine, *names: str) -> list[int]:
    return [len(samples_of(engine, name)) for name in names]


@pytest.fixture
def engine(home: Home):
    with open_database(home) as engine:
        yield engine


def test_what_is_older_stands_for_longer():
    days = (0, 1.9, 2, 29.9, 30, 400)
    assert [step_for(timedelta(days=age)) for age in days] == [0, 0, 60, 60, 3600, 3600]


def test_averages_are_by_time_and_peaks_and_sums_stay():
    (merged,) = thin(
        [
            a_sample(0, 10, cpu=1.0, cpu_peak=1.0, memory=10, bytes_read=1, gpu_temperature=50.0),
            a_sample(5, 30, cpu=3.0, cpu_peak=4.0, memory=20, disk_free=7, gpu_temperature=60.0),
            a_sample(9, 20, cpu=None, memory=31, bytes_read=2, disk_free=9, gpu_temperature=55.0),
        ],
        60,
    )
    assert merged == a_sample(
        9,
        60,
        cpu=2.5,
        cpu_peak=4.0,
        memory=22,
        bytes_read=3,
        disk_free=7,
        gpu_temperature=60.0,
    )


def test_a_sample_that_is_alone_stays_as_it_is():
    alone = [a_sample(0, cpu=0.1), a_sample(60, cpu=0.7)]
    assert thin(alone, 60) == alone


VALUES = st.none() | st.floats(0, 100)
SAMPLES = st.lists(
    st.builds(
        lambda at, cpu, written: a_sample(
            at, 1 + at % 7, cpu=cpu, cpu_peak=cpu, bytes_written=written
        ),
        st.floats(0, 9000),
        VALUES,
        st.none() | st.integers(0, 10**12),
    ),
    max_size=40,
).map(lambda drawn: sorted(drawn, key=lambda sample: sample["time"]))


@given(SAMPLES, st.sampled_from([60, 3600]))
def test_whatever_is_thinned_tells_the_same_sums_and_peaks(taken, step):
    thinned = thin(taken, step)
    assert len(thinned) == len({sample["time"].timestamp() // step for sample in taken})
    for name in ("seconds", "bytes_written"):
        assert sum(s[name] or 0 for s in thinned) == pytest.approx(sum(s[name] or 0 for s in taken))
    peaks = [
        [s["cpu_peak"] for s in part if s["cpu_peak"] is not None] for part in (taken, thinned)
    ]
    assert max(peaks[0], default=None) == max(peaks[1], default=None)
    used = [sum((s["cpu"] or 0) * s["seconds"] for s in part) for part in (taken, thinned)]
    assert used[1] == pytest.approx(used[0]) or any(s["cpu"] is None for s in taken)


@given(SAMPLES)
def test_thinning_twice_comes_to_the_same_as_at_once(taken):
    in_steps, at_once = thin(thin(taken, 60), 3600), thin(taken, 3600)
    for one, other in zip(in_steps, at_once, strict=True):
        exact = {name for name in one if name != "cpu"}
        assert {n: one[n] for n in exact} == {
            n: pytest.approx(other[n]) if isinstance(other[n], float) else other[n] for n in exact
        }


@pytest.mark.both_databases
def test_runs_are_thinned_by_their_age_and_once(home, engine):
    names = [record(engine, night, age) for night, age in enumerate((90, 31, 10, 3, 1))]
    assert counts(engine, *names) == [240] * 5
    foretold = thin_samples(engine, NOW, dry_run=True)
    assert counts(engine, *names) == [240] * 5

    done = thin_samples(engine, NOW)

    after = counts(engine, *names)
    assert all(count <= 2 for count in after[:2])
    assert all(60 <= count <= 61 for count in after[2:4])
    assert after[4] == 240
    assert foretold == done == Thinned(4, 5 * 240 - sum(after))
    total = row(home, f"SELECT sum(bytes_written) n FROM samples WHERE run = '{names[0]}'")
    assert total == {"n": 2400}
    assert thin_samples(engine, NOW) == Thinned(0, 0)
    assert thin_samples(engine, NOW + timedelta(days=28)).runs == 3
    assert len(rows(home, "SELECT id FROM runs WHERE samples_step = 3600")) == 4


def test_old_samples_are_found_without_looking_at_all_of_history(home, engine):
    record(engine, 0, 90)
    thin_samples(engine, NOW)
    plan = plan_of(
        home,
        "SELECT id, finished FROM runs"
        " WHERE samples_step < 3600 AND samples_step < 60 AND finished <= 1",
    )
    assert "ix_runs_to_thin" in plan


def test_cleanup_thins_and_says_so(home, engine, inside):
    name = record(engine, 0, (NOW - datetime.now(UTC)) / timedelta(days=1) + 5)
    foretold = json.loads(inside("keep", "cleanup", "--dry-run", "--json").stdout)
    assert counts(engine, name) == [240]
    told = inside("keep", "cleanup").stdout
    assert f"samples of 1 runs thinned: {foretold['thinned']['samples']} rows fewer" in told
    assert counts(engine, name)[0] <= 61
    with engine.connect() as connection:
        assert connection.execute(select(runs.c.samples_step)).scalar() == 60


def test_cleanup_tells_what_it_has_removed_although_the_database_is_away(home, inside):
    for name in ("old", "new"):
        (home.runs_dir / "night" / name).mkdir(parents=True)
    take_away(home)
    done = inside("keep", "cleanup", "--max-age", "0s")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "1 kept, 0 Bytes freed")
    assert told_of_absence(home) in done.stderr
