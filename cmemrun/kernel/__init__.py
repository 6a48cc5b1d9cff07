"""What Linux says. Nothing here decides anything."""
