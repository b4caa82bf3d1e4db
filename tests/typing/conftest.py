"""What is here is checked by mypy and pyright against the installed wheel, and never run."""

collect_ignore_glob = ["*.py"]
