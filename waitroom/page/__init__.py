"""The waiting page: what it shows, in which words, and how it is written from the files in `templates/`.

Reads no request and asks no store.
"""
