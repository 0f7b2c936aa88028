"""Protocol messages: generated classes, text format, wire format."""
