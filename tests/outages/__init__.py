"""The database goes away or fills up: the process says so, loses nothing and goes on by itself."""
