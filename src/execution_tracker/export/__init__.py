"""Runs in the forms that trace viewers and tracing back ends read."""
