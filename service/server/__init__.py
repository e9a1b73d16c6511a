"""The app and the processes that serve it; imports every other room of the service."""
