"""What a later night may ask for otherwise than the first: harmless, noted, or refused."""

from typing import NamedTuple

from mae.config import Config, differences

# How the machine does the work.
HARMLESS = frozenset({"run"})
# How the network learns. The schedule follows the samples: where it is, counted in epochs, stays.
NOTED = {
    "recipe": frozenset({
        "epochs", "steps", "batch_size", "base_lr", "min_lr", "warmup_epochs", "weight_decay",
        "betas", "clip_grad",
    }),
    # Images may move, or be packed; how many they are is seen when the campaign goes on.
    "data": frozenset({"source"}),
}  # fmt: skip


class Changes(NamedTuple):
    """Differences of an asked config from the campaign's."""

    noted: list[str]  # "section.key = new, not old": what holds from now on
    refused: list[str]  # "section.key = old, not new": what the campaign keeps


def classify(campaign: Config, asked: Config) -> Changes:
    """Which differences hold from now on, with a note, and which need a campaign of their own.

    What is left, and not listed in either, is what the network is and what it learns: its shape,
    the images' view, masks and seed.
    """
    noted, refused = [], []
    for section in Config.model_fields:
        if section in HARMLESS:
            continue
        old, new = getattr(campaign, section), getattr(asked, section)
        holds, kept = differences(new, old), differences(old, new)
        for key in kept:
            if key in NOTED.get(section, ()):
                noted.append(f"{section}.{holds[key]}")
            else:
                refused.append(f"{section}.{kept[key]}")
    return Changes(noted, refused)
