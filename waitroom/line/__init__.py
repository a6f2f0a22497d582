"""The line as arithmetic: ranks and waits, tickets and how they are signed, what is counted.

Pure: no clock, no I/O and no framework. Time and chance are arguments.
"""
