"""What the gate costs, measured on real servers: `make bench`. See docs/performance.md."""
