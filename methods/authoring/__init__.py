"""For authors of a method: the template, the conformance suite, the small data that it runs on."""
