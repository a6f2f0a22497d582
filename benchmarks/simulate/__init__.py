"""A line in virtual time on the real scripts: how much of what is free goes unused, and how long people wait for it."""
