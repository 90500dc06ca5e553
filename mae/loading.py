"""Imports of torch and its like: the seconds of a start."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Within it large modules are imported, and nothing is looked through for garbage.

    They make 600,000 objects that stay. To look through them again and again took a fifth of the
    start, and each later look for garbage as long as all of them need: from now on it passes them
    over.
    """
    before = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            gc.freeze()
        gc.enable()
