"""From a catalog and a configuration to a plan. Pure."""
