"""The name "ExecutionTracker" in serilux's registry, which upstream's class wants, too.

serilux refuses a second class under a name while its module is imported. So that the two libraries can be imported in
any order, upstream's class has the name wherever the old engine is imported. Ours has it elsewhere, and everywhere
after ``integrations.routilux.install()``.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

from serilux import SerializableRegistry, register_serializable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from typing import TypeVar

    Class = TypeVar("Class", bound=type)


def register(tracker_class: Class) -> Class:
    """Register the class with serilux, unless upstream's was there first."""
    try:
        register_serializable(tracker_class)
    except ValueError:
        return tracker_class
    sys.meta_path.insert(0, _MakeWay(tracker_class))
    return tracker_class


class _MakeWay:
    """An import hook that finds nothing, but frees the name before upstream's module is imported."""

    def __init__(self, tracker_class: type) -> None:
        self.tracker_class = tracker_class

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        # The engine of today has no such module: there somebody asks for it in vain, and the name stays ours.
        if name == "routilux.execution_tracker" and PathFinder.find_spec(name, path) is not None:
            registry = SerializableRegistry.registry
            if registry.get(self.tracker_class.__name__) is self.tracker_class:
                del registry[self.tracker_class.__name__]
        return None
