"""Benchmarks, run by hand: `make bench`. They measure, so the process is prepared before torch is imported."""

from autocompress.measure.machine import prepare_environment

prepare_environment()
