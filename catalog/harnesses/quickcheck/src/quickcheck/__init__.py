"""An acceptance check of an OpenAI-compatible endpoint, and the reference for how a harness behaves."""
