"""What has been made: looked at, and taken along."""
