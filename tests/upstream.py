"""Upstream's tracker, to compare with: the class that routilux 0.10.0 has, taken out of its wheel."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import serilux

VERSION = "0.10.0"
_MODULE = "routilux/execution_tracker.py"


class UpstreamMissingError(Exception):
    """Neither is upstream installed, nor could pip get it."""


def load_upstream(folder: str | os.PathLike[str] | None = None) -> Any:
    """Return upstream's class, unregistered with serilux, where our class has that name.

    Args:
        folder: Where it is installed if this environment has none: a temporary folder unless given.

    Raises:
        UpstreamMissingError: pip could not install it.
    """
    for path in [None, folder]:
        if (module_path := _find(path)) is not None:
            return _load(module_path)
    if folder is not None:
        return _load(_install(Path(folder)))
    with tempfile.TemporaryDirectory() as temporary:
        return _load(_install(Path(temporary)))


def _find(folder: str | os.PathLike[str] | None) -> Path | None:
    """Return the file of upstream's class in a folder, or in this environment if that is None."""
    path = sys.path if folder is None else [str(folder)]
    for distribution in distributions(name="routilux", path=path):
        module_path = Path(str(distribution.locate_file(_MODULE)))
        if distribution.version == VERSION and module_path.exists():
            return module_path
    return None


def _install(folder: Path) -> Path:
    # Its dependencies stay out: the newest serilux does for this class, but not for the rest of that routilux.
    options = ["--quiet", "--no-deps", "--target", str(folder)]
    pip = [sys.executable, "-m", "pip", "install", *options, f"routilux=={VERSION}"]
    result = subprocess.run(pip, capture_output=True, text=True)
    module_path = _find(folder)
    if result.returncode != 0 or module_path is None:
        reason = result.stderr.strip().splitlines() or [f"there is no {_MODULE} in it"]
        raise UpstreamMissingError(f"pip could not install routilux=={VERSION}: {reason[-1]}")
    return module_path


def _load(module_path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("upstream_execution_tracker", module_path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    register_serializable = serilux.register_serializable
    serilux.register_serializable = lambda cls: cls
    try:
        spec.loader.exec_module(module)
    finally:
        serilux.register_serializable = register_serializable
    return module.ExecutionTracker
