"""The Python API of a released model: what ``earful.load`` gives."""
