"""Lets ``python -m execution_tracker`` do what the command ``execution-tracker`` does."""

from execution_tracker.cli import main

if __name__ == "__main__":
    main()
