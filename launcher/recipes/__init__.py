"""Recipes: scripts that say themselves, in a `[tool.runspec]` table, how they are run."""
