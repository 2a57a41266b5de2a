"""The revisions of our own tables, in order."""
