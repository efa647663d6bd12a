"""Our own TFLite writer."""
