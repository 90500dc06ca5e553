"""Where an evaluation of the night lies. The campaign's own images have the plain names:

    evaluations/step-000001500.json                  of other images: …-on-tv-1a2b3c4d.json
    evaluations/random-init.json                     random-init-on-tv-1a2b3c4d.json
    pictures/reconstruction-step-000001500.png       …-on-tv-1a2b3c4d.png
    pictures/loss.png                                none

What retention and curves go by is found under the plain names: a look at other images must not
replace it. The eight digits are of the whole path.
"""

import hashlib
import os
import re
from pathlib import Path
from typing import NamedTuple

from mae.train.campaign import Campaign

NAME_LENGTH = 40  # characters of a folder's name; a file's may not be longer than 255 bytes


class Places(NamedTuple):
    """The files of one evaluation."""

    result: Path
    random_init: Path
    picture: Path
    curves: Path | None  # over the nights: None for images that the nights did not learn from


def places_of(campaign: Campaign, checkpoint: str, source: str) -> Places:
    """Where a checkpoint's scores on a source go; an empty source means the campaign's own."""
    suffix = _suffix(source) if source else ""
    return Places(
        result=campaign.evaluations / f"{checkpoint}{suffix}.json",
        random_init=campaign.evaluations / f"random-init{suffix}.json",
        picture=campaign.pictures / f"reconstruction-{checkpoint}{suffix}.png",
        curves=None if source else campaign.pictures / "loss.png",
    )


def _suffix(source: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(source).name)[:NAME_LENGTH]
    # The bytes on the disk: a name may be no UTF-8.
    digest = hashlib.sha256(os.fsencode(source)).hexdigest()
    return f"-on-{name}-{digest[:8]}"
