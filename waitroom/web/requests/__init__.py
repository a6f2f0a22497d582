"""What a request says: its kind, what its sender can read, its credentials and its client.

Nothing here answers.
"""
