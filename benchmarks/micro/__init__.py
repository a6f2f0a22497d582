"""The pure parts on their own, by pytest-benchmark: `make bench-micro`."""
