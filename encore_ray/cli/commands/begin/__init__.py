"""What one begins with: made-up data, drafts, and a look at the job and the machine."""
