"""Pictures and data sets, synthetic and real."""
