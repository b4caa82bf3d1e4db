"""What `import execution_tracker` costs against `import serilux`, its one dependency: fresh interpreters in turn."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from statistics import median

MODULES = ("serilux", "execution_tracker")
ROUNDS = 21
PROGRAM = "from time import perf_counter as now; start = now(); import {}; print(now() - start)"


def import_time(module: str) -> float:
    """Return the seconds that one import takes in an interpreter of its own."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # compiled files count, compiling does not
    command = [sys.executable, "-c", PROGRAM.format(module)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    for module in MODULES:
        import_time(module)
    times: dict[str, list[float]] = {module: [] for module in MODULES}
    for _ in range(ROUNDS):
        for module in MODULES:
            times[module].append(import_time(module))
    print(f"CPython {platform.python_version()}, {ROUNDS} rounds")
    for module, taken in times.items():
        ratio = median(taken) / median(times["serilux"])
        print(f"  import {module:20}{median(taken) * 1e3:7.2f} ms  (min {min(taken) * 1e3:.2f})  ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
