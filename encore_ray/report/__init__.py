"""What a person sees of a run: tables for the terminal (`tables`), one figure (`figure`), and the HTML report (`page`)
with the same numbers as Arrow tables (`data.data_tables`).

Everything here reads the contract files (`encore_ray.artifacts`), so it works on any run, also an old one. Import the
module that you need: only `figure` draws with matplotlib, and loads it when it draws.
"""
