"""Small models of how a room survives what its store loses, searched state by state: `make model`."""
