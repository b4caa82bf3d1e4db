"""Records what the routines of a flow do, and tells what ran, what failed, what was slow and why."""

from execution_tracker.errors import InvalidRunError, TrackerError
from execution_tracker.merging import merge
from execution_tracker.payloads import snapshot
from execution_tracker.tracker import ExecutionTracker

__all__ = ["ExecutionTracker", "InvalidRunError", "TrackerError", "merge", "snapshot"]
__version__ = "0.1.0"
