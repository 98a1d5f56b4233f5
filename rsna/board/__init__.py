"""Run directories in, rankings and pages out."""
