"""Benchmarks: runnable, interleaved, printed as ratios against peers and limits."""
