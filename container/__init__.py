"""The proof of the image: built, run for real, saved."""
