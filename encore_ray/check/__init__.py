"""What can be known of a job before any work: in seconds, without Ray, and without writing anything."""
