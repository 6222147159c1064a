"""Named environments of env.toml, and which key may be sent where."""
