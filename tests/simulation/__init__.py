"""A deterministic simulation: real scripts on a real server, a virtual clock, processes, visitors and faults.

`python -m tests.simulation --seed S --count N` runs N schedules; after each call an oracle that knows the whole
history checks the promises. A schedule that breaks one prints its seed, and the same seed plays it again.
"""
