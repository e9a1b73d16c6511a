"""What a system gives a process, the same way on Linux, macOS and Windows."""
