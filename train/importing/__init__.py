"""Images and captions in the forms that people have them in; one form a file, each gives `Found` samples."""
