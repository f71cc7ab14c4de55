"""Annotations of videos: classes, segments, sentences."""
