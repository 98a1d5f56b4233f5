"""All that a person can type: the schema of an experiment, the options of every verb, composition, overrides."""
