"""Fresh processes that measure: the parent asks, the child loads, runs and times; `bench` asks until it is decided."""

from autocompress.sessions.bench import BenchReport, bench
from autocompress.sessions.parent import Session, run_session

__all__ = ["BenchReport", "Session", "bench", "run_session"]
