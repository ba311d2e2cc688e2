"""Many images: what to do, doing it, and telling what became of each."""
