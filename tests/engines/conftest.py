"""The scripts here need an old routilux: they are started by tests, not collected."""

collect_ignore_glob = ["*.py"]
