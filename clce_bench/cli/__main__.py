"""Runs the command line as ``python -m clce_bench.cli``."""

from clce_bench.cli import main

main()
