"""What was measured: leaderboards, records, models and their comparison. Read from the catalog's results/."""
