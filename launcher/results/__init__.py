"""From what a job leaves to records, reports, gates and trackers."""
