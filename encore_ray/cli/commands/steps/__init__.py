"""The passes of a job, one by one."""
