"""Commands that need no training package, and the options that commands share."""
