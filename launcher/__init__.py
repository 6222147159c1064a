"""Runs tasks of a catalog on a backend."""
