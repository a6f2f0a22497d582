"""The environment, turned into frozen settings, and what is said where it is wrong.

Nothing outside reads `os.environ`, and nothing here asks a store.
"""
