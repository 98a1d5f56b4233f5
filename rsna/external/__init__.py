"""What becomes of a trained model elsewhere: on other sets, at a site of its own, before anything is labelled."""
