"""The command line: serving, looking at a room, the demo."""
