"""What the command line tells as a mistake of its user."""


class UsageError(Exception):
    """What was asked for can't be done; exit code 2."""
