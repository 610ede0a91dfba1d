"""Linear heads fitted to labels, and how well they do on responses that they have not seen."""
