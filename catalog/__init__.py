"""The shared ground of evaldock: references, the catalog's model and store, errors, console, root command."""

__version__ = "0.1.0"
