"""One frame's bytes → samples: what a codestream says about itself, whether it is whole, and its decoders."""
