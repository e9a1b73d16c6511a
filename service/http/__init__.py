"""The HTTP layer: uploads, answers, dispatch and the state of the running app."""
