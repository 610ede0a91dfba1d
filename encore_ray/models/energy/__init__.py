"""EBRM: energies fitted to rewards, and rewards refined by them."""
