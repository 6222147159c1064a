"""One module per backend, each with the six functions of `launcher.backends.protocol`, loaded by name."""
