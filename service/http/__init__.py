"""The HTTP layer: uploads, responses, dispatch and the state of the running app."""
