"""The protocol of commits: what finished units and passes leave behind, and what tells that they are whole."""
