"""Sphinx settings."""

from importlib.metadata import version as version_of

project = "execution-tracker"
author = "The execution-tracker developers"
release = version = version_of("execution-tracker")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "execution-tracker"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
exclude_patterns = ["_build"]
nitpicky = False
