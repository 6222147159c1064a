"""From a registry to pages: reads framework.yml out of image layers, writes the IR, renders the site."""
