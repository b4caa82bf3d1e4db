"""Engines and clusters that the tracker meets where they are."""
