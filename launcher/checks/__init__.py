"""What `evaldock doctor` looks at: one module per backend, each with `checks(subject)`."""
