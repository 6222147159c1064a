"""The life of a run: its database, handle and folder, and the rounds that look after it."""
