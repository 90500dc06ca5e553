"""What `maejobs doctor` says of one point, and how bad that is."""

from dataclasses import dataclass

GOOD, WARNING, BAD = "good", "warning", "bad"


@dataclass(frozen=True)
class Finding:
    what: str
    verdict: str
    text: str
