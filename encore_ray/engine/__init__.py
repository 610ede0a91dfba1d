"""How units of work get done: what a pass hands over, and who works on it."""
