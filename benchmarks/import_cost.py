"""What `import execution_tracker` costs against `import serilux`, its one dependency: fresh interpreters in turn."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from measuring import Comparison, machine

TITLE = "Import"
SERILUX = "serilux"
OUR_IMPORT = "execution_tracker"
PROGRAM = "from time import perf_counter as now; start = now(); import {}; print(now() - start)"


def import_time(module: str) -> float:
    """Return the seconds that one import takes in an interpreter of its own."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # compiled files count, compiling does not
    command = [sys.executable, "-c", PROGRAM.format(module)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure(rounds: int) -> Comparison:
    """Compare the two imports."""
    times: dict[str, list[float]] = {SERILUX: [], OUR_IMPORT: []}
    for module in times:
        import_time(module)  # compiles it
    for _ in range(rounds):
        for module, taken in times.items():
            taken.append(import_time(module))
    return Comparison(TITLE, times, (SERILUX,), "ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    print(f"{machine()}\n{options.rounds} rounds\n\n{measure(options.rounds).table()}")


if __name__ == "__main__":
    main()
