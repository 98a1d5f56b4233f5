"""How every picture looks: colours, sizes and words on pixels; contact sheets; heat over grey pixels."""
