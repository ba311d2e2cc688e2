"""Data sets: their publishers' formats, and labels that are missing."""
