"""Sphinx settings."""

from importlib.metadata import version as version_of

project = "execution-tracker"
author = "The execution-tracker developers"
release = version = version_of("execution-tracker")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "execution-tracker"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
default_role = "code"
exclude_patterns = ["_build"]
html_show_copyright = False
highlight_options = {"python": {"stripnl": True}}  # of the empty line that ends a session
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3


def setup(app):
    app.connect("autodoc-process-docstring", keep_sentences_whole, priority=400)  # before napoleon


def keep_sentences_whole(app, what, name, obj, options, lines):
    """Have napoleon take nothing before a colon for a type: the signatures have the types."""
    for index, line in enumerate(lines):
        if line == "Returns:":
            text = lines[index + 1].lstrip()
            lines[index + 1] = lines[index + 1].removesuffix(text) + f": {text}"
