"""Pictures and data sets, embedded and real."""
