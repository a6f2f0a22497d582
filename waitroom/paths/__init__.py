"""Which request is protected: patterns, all the ways to read a path, and which room owns one.

Pure: nothing here knows a request, a setting or a store.
"""
