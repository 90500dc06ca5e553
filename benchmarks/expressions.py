"""Reading expressions and finding their fires, against croniter, in one run.

The corpus is drawn with a fixed seed: expressions as crontabs have them, and as many with one
character too few, too many or changed. Where the two differ in what they take or when it fires,
that is counted, too.
"""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from statistics import median

from croniter import CroniterError, croniter

from maejobs.cron.fires import fires
from maejobs.cron.grammar import SPANS, BadExpression, parse_expression

SEED = 20260101
KINDS = 1000  # of each: sound and damaged
ROUNDS = 7
FIRES = 20
START = datetime(2026, 1, 1, tzinfo=UTC)
CHARACTERS = "0123456789*/-, abcfmnorstuw@#"


def main() -> None:
    """Print the medians, their ratios, and how often the two differ."""
    chance = random.Random(SEED)
    sound = [_drawn(chance) for _ in range(KINDS)]
    damaged = [_damaged(text, chance) for text in sound]
    corpus = sound + damaged
    ours, theirs = [_takes(text) for text in corpus], [croniter.is_valid(text) for text in corpus]
    both = [text for text, a, b in zip(corpus, ours, theirs, strict=True) if a and b]
    print(f"{len(corpus)} expressions: we take {sum(ours)}, croniter {sum(theirs)}")
    only = sum(b and not a for a, b in zip(ours, theirs, strict=True))
    print(f"only croniter takes {only}, only we {sum(ours) - len(both)}")
    differ = sum(_our_fires(text) != _their_fires(text) for text in both)
    print(f"of {len(both)} that both take, {differ} fire at other times among the first {FIRES}")
    _compare("read", corpus, _takes, croniter.is_valid)
    _compare(f"find {FIRES} fires of", both, _our_fires, _their_fires)


def _compare(
    what: str,
    corpus: list[str],
    ours: Callable[[str], object],
    theirs: Callable[[str], object],
) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for task, seconds in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            for text in corpus:
                task(text)
            seconds.append(time.perf_counter() - start)
    mine, other = (median(seconds) / len(corpus) * 1e6 for seconds in times)
    ratio = median(a / b for a, b in zip(*times, strict=True))
    print(f"{what} one: {mine:.0f} µs, croniter {other:.0f} µs; ratio {ratio:.2f}")


def _takes(text: str) -> bool:
    try:
        parse_expression(text)
    except BadExpression:
        return False
    return True


def _our_fires(text: str) -> list[datetime]:
    return list(islice(fires(parse_expression(text), START, UTC), FIRES))


def _their_fires(text: str) -> list[datetime]:
    # Without this option croniter takes any field with a star for "every day".
    coming = croniter(text, START, ret_type=datetime, implement_cron_bug=True)
    try:
        return list(islice(coming, FIRES))
    except CroniterError:  # none in fifty years
        return []


def _drawn(chance: random.Random) -> str:
    return " ".join(_field(chance, span.low, span.high, span.names) for span in SPANS)


def _field(chance: random.Random, low: int, high: int, names: tuple[str, ...]) -> str:
    first, last = sorted(chance.sample(range(low, high + 1), 2))
    return chance.choice(
        [
            "*",
            "*",
            str(first),
            str(last),
            chance.choice(names or (str(low),)),
            f"{first}-{last}",
            f"*/{chance.randint(1, high - low)}",
            f"{first}-{last}/{chance.randint(1, last - first)}",
            f"{first},{last}",
        ]
    )


def _damaged(text: str, chance: random.Random) -> str:
    at = chance.randrange(len(text))
    before, after = text[:at], text[at:]
    letter = chance.choice(CHARACTERS)
    return chance.choice([before + after[1:], before + letter + after, before + letter + after[1:]])


if __name__ == "__main__":
    main()
