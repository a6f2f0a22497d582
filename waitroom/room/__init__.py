"""One room in one process: who may come in, who waits, and what holds while the store is away.

Knows no HTTP: requests come as credentials and go as decisions.
"""
