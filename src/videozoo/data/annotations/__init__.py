"""What people say about videos: lists of classes, segments, sentences."""
