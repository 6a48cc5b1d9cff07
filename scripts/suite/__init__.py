"""scripts/test: the steps, how they are run side by side, and the table at the end."""
