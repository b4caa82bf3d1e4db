"""What it costs to serialize, save and load a run: this library and upstream's way, `json.dump` and `json.load`.

    pip install . && pip install --no-deps routilux==0.10.0 && python benchmarks/persistence.py

Both take turns in one run, round by round, and the garbage collector stays on, as in a host. Memory is the peak above
what the tracker itself takes, as `tracemalloc` counts it, in a pass of its own.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from measuring import CLOCKS, OURS, THEIRS, Clock, Comparison, Work, interleaved, machine, parser_of, traced
from subjects import Upstream, chain, upstream_load, upstream_save

from execution_tracker import ExecutionTracker

SERIALIZE = "Serialize"
SAVE = "Save"
LOAD = "Load"
SAVE_PEAK = "Save, peak of memory"
LOAD_PEAK = "Load, peak of memory"


def measure(count: int, rounds: int, clock: Clock, memory: bool) -> list[Comparison]:
    """Compare the three works on executions with payloads and as many events: their time, then their memory."""
    ours, theirs = chain(ExecutionTracker("run"), count), chain(Upstream("run"), count)
    ours.get_flow_performance()  # so that what was recorded is folded
    with tempfile.TemporaryDirectory() as folder:
        our_path, their_path = Path(folder, "ours.json"), Path(folder, "theirs.json")
        works: dict[str, dict[str, Work]] = {
            SERIALIZE: {OURS: ours.serialize, THEIRS: theirs.serialize},
            SAVE: {OURS: lambda: ours.save(our_path), THEIRS: lambda: upstream_save(theirs, their_path)},
            LOAD: {OURS: lambda: ExecutionTracker.load(our_path), THEIRS: lambda: upstream_load(their_path)},
        }
        comparisons = [
            Comparison(title, interleaved(pair, rounds, clock), (THEIRS,), "s") for title, pair in works.items()
        ]
        for peak, title in [(SAVE_PEAK, SAVE), (LOAD_PEAK, LOAD)] if memory else []:
            sizes = {name: [float(traced(work)[1])] for name, work in works[title].items()}
            comparisons.append(Comparison(peak, sizes, (THEIRS,), "MB"))
    return comparisons


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--records", type=int, default=100_000, help="executions, and as many events")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="the peak of memory, too, which takes a minute")
    options = parser.parse_args()
    print(f"{machine()}\n{options.records:,} executions and events, {options.rounds} rounds, {options.time} time")
    for comparison in measure(options.records, options.rounds, CLOCKS[options.time], options.memory):
        print(f"\n{comparison.title}\n\n{comparison.table()}", flush=True)


if __name__ == "__main__":
    main()
