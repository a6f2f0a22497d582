"""The gate's own routes below the prefix, for browsers and programs."""
