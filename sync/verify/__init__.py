"""What the written objects do, by a reading of its own: nothing here knows the translation."""
