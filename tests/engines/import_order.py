"""Takes the steps that its arguments name, in that order, and prints as JSON whose tracker is where afterwards."""

import json
import sys


def install():
    from execution_tracker.integrations.routilux import install

    install()


STEPS = {
    "import execution_tracker": lambda: __import__("execution_tracker"),
    "import routilux": lambda: __import__("routilux"),
    "install": install,
}


def main():
    for step in sys.argv[1:]:
        STEPS[step]()

    import routilux.execution_tracker
    from scenarios import Flow, Plain, connected, run
    from serilux import Serializable, SerializableRegistry

    flow = run(connected(Flow(), {"load": Plain}))
    found = {
        "in routilux": routilux.ExecutionTracker,
        "in its module": routilux.execution_tracker.ExecutionTracker,
        "in serilux": SerializableRegistry.get_class("ExecutionTracker"),
        "in a flow": type(flow.execution_tracker),
        "read by serilux": type(Serializable.deserialize_item(flow.execution_tracker.serialize())),
    }
    json.dump({place: tracker_class.__module__ for place, tracker_class in found.items()}, sys.stdout)


if __name__ == "__main__":
    main()
