"""What tabs are built of: viewers, panels, the image input and the strip of examples."""
