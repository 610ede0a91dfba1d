"""How rules agree with each other, and what that tells of them without a label."""
