"""Many tasks → outcomes, in processes where a task that crashes, hangs or eats memory costs itself alone."""
