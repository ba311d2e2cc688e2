"""What people look at and take on: tables, outlines, pictures, made of a label image."""
