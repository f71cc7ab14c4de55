"""Frames of videos: decoding, choosing, resizing and cropping, and checking files."""
