"""Files of a job, drafted from what its data and its model are seen to be, for a person to correct."""
