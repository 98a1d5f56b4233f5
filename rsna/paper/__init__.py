"""What there is to say of a trained model, as a short paper: the report's page and a bundle's model card."""
