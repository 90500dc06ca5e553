"""Finds what travels with the code: `jobs.d/` and `migrations/`, in a wheel or in a checkout."""

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """The directory `name` as installed in the wheel, else at the top of the checkout."""
    for path in (_PACKAGE / "shipped" / name, _PACKAGE.parent / name):
        if path.is_dir():
            return path
    raise FileNotFoundError(f"{name} is missing from this installation of maejobs")
