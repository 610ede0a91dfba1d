"""Files of models: what is stored in them, and what becomes of each part; every error of others' code ends here."""
