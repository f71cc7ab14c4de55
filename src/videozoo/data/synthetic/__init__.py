"""Videos of our own making, for the demos and the tests."""
