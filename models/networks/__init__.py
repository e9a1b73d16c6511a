"""One network per file, and the zoo that lists them by name."""
