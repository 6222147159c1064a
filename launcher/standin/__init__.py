"""A stand-in model server: OpenAI-compatible, deterministic, no model behind it.

For the demo, for tests, and for trying a configuration before a real endpoint is spent on it. Standard
library alone.
"""
