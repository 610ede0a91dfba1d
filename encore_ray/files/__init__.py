"""Files as foreign code meets them: written whole, fenced, read from stores, from YAML and from pickles."""
