"""Images and label images as files."""
