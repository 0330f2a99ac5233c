"""External dynamic lists: their lines, their download, and the last good copies."""
