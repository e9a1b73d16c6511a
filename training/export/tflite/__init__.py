"""Export to TFLite, for phones and microcontrollers."""
