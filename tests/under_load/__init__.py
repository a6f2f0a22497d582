"""A gate under load while its store is killed, failed over and flushed: `make faults-under-load`."""
