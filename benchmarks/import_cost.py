"""What `import execution_tracker` costs against `import serilux`, its one dependency: fresh interpreters in turn."""

from __future__ import annotations

import os
import subprocess
import sys

from measuring import CLOCKS, Clock, Comparison, machine, parser_of

TITLE = "Import"
SERILUX = "serilux"
OUR_IMPORT = "execution_tracker"
PROGRAM = "from time import {} as now; start = now(); import {}; print(now() - start)"


def import_time(module: str, clock: Clock) -> float:
    """Return the seconds that one import takes in an interpreter of its own."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # compiled files count, compiling does not
    command = [sys.executable, "-c", PROGRAM.format(clock.__name__, module)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure(rounds: int, clock: Clock) -> Comparison:
    """Compare the two imports."""
    times: dict[str, list[float]] = {SERILUX: [], OUR_IMPORT: []}
    for module in times:
        import_time(module, clock)  # compiles it
    for _ in range(rounds):
        for module, taken in times.items():
            taken.append(import_time(module, clock))
    return Comparison(TITLE, times, (SERILUX,), "ms")


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    print(f"{machine()}\n{options.rounds} rounds, {options.time} time")
    print(f"\n{measure(options.rounds, CLOCKS[options.time]).table()}")


if __name__ == "__main__":
    main()
