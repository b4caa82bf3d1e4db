"""Records what the routines of a flow do, and tells what ran, what failed, what was slow and why."""

from execution_tracker.errors import InvalidRunError, TrackerError

__all__ = ["InvalidRunError", "TrackerError"]
__version__ = "0.1.0"
