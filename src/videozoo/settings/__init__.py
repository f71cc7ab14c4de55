"""What a configuration file can set, task by task. Nothing here imports torch."""
