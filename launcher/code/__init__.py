"""Code that jobs need and that lies elsewhere: shipped with them, or checked out of git."""
