"""Jobs: long recordings that are uploaded now and answered later. No HTTP in it."""
