"""What several test modules use."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from upstream import UpstreamMissingError, load_upstream

# How long an example takes says more of the machine than of the code.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For mutants, under which a test only has to fail, and for Pythons beside the first: --hypothesis-profile=short
settings.register_profile(
    "short",
    settings.get_profile("unhurried"),
    max_examples=15,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile("unhurried")

_stderr_key = pytest.StashKey[Any]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_stderr_key] = os.fdopen(os.dup(2), "w")  # while nobody captures it


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[_stderr_key].close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("once")  # a page looks the same whichever Python wrote it


@pytest.fixture(scope="session")
def upstream_class(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Upstream's ExecutionTracker, unregistered."""
    kept_in = os.environ.get("EXECUTION_TRACKER_ENGINES")
    folder = Path(kept_in, "upstream") if kept_in else tmp_path_factory.mktemp("upstream")
    try:
        return load_upstream(folder)
    except UpstreamMissingError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture
def many_switches(request: pytest.FixtureRequest) -> Iterator[None]:
    """Threads take turns as often as they can. A deadlock ends the run with the stacks of all threads."""
    usual = sys.getswitchinterval()
    faulthandler.dump_traceback_later(120, exit=True, file=request.config.stash[_stderr_key])
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)
    faulthandler.cancel_dump_traceback_later()
