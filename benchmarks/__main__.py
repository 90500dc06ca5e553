"""`make bench`: measurements, each side by side with what it is compared with, in one run.

These machines are noisy: contestants alternate, and medians and ratios are printed.
"""

from benchmarks import expressions, listing, loader, table, training

for benchmark in (listing, table, expressions, training, loader):
    benchmark.main()
