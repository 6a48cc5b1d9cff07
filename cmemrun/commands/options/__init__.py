"""The options: the one place where they are written down, a file for each verb."""
