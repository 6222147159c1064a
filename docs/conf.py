"""Sphinx configuration of this project's own documentation and catalog."""

from __future__ import annotations

from catalog import __version__

project = "evaldock"
author = "The evaldock developers"
copyright = "The evaldock developers"  # noqa: A001 # Sphinx reads it under this name
version = release = __version__

extensions = ["generator.site"]
evaldock_catalog = "../catalog"
evaldock_repository = "https://github.com/evaldock/evaldock"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

# The catalog's toctree is added by the extension; the demo is code.
exclude_patterns = ["_build", "demo"]
nitpicky = True

html_theme = "pydata_sphinx_theme"
html_title = "evaldock"
html_theme_options = {
    "icon_links": [
        {"name": "Source", "url": "https://github.com/evaldock/evaldock", "icon": "fa-brands fa-github"},
    ],
}
