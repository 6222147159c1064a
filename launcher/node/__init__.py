"""What happens on a node for one job: shell texts, made by pure functions."""
