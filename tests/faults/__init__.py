"""Faults injected into real searches: `python -m tests.faults` tries each and tells what became of it."""
