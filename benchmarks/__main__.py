"""`make bench`: measurements, each side by side with what it is compared with, in one run.

These machines are noisy: contestants alternate, and medians and ratios are printed.
"""

import sys

from benchmarks import (
    end_to_end,
    expressions,
    history,
    listing,
    loader,
    startup,
    supervisor_cost,
    table,
    training,
)
from benchmarks.bars import verdict

for benchmark in (
    startup,
    supervisor_cost,
    listing,
    history,
    table,
    expressions,
    training,
    loader,
    end_to_end,
):
    benchmark.main()
sys.exit(verdict())
