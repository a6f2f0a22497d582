"""The gate's own responses, and what it adds to the site's.

Nothing here decides who gets in.
"""
