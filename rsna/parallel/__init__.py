"""Many tasks → outcomes: `engine` is the interface, `pool` runs them in processes that may crash or hang."""
